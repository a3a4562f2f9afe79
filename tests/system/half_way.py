"""Jobs that are stopped where a test wants them."""

from __future__ import annotations

from threading import Event

from tests.system.deadline import wait_until

import volary

TALKATIVE = volary.Settings(progress_interval=1e-6)
"""An engine that tells every extent."""


def paused_half_way(pool: volary.Pool, spec: volary.VolumeSpec) -> volary.Job[volary.Volume]:
    """Return a job that stands still: some of the volume is written, and some is not.

    The engine must be `TALKATIVE`. The job's own callback holds it after an extent until the
    order to pause is in its mailbox: however fast the disk is, it stands at the same place.
    """
    some, go_on = Event(), Event()

    def hold(progress: volary.Progress) -> None:
        if 0 < progress.done < progress.total:
            some.set()
            go_on.wait(20)

    job = pool.create_volume(spec, volary.ASYNC, on_progress=hold)
    try:
        assert some.wait(20), f"{job!r} did not begin: {job.state}"
        job.pause()
        pool.info()  # answered after the order was passed on
    finally:
        go_on.set()
    wait_until(lambda: job.state is volary.JobState.PAUSED, "the job is paused")
    return job
