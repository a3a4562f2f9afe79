"""Jobs that are stopped where a test wants them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any, TypeVar

from tests.system.deadline import wait_until

import volary

T = TypeVar("T")

TALKATIVE = volary.Settings(progress_interval=1e-6)
"""An engine that tells every extent."""

Begin = Callable[[Callable[[volary.Progress], None]], volary.Job[T]]
"""Begins a job that tells its progress to the function that is given."""


class _Gate:
    """Holds a job on its own thread, in its callback, after so many words of its progress."""

    def __init__(self, holds: Callable[[int, volary.Progress], bool]) -> None:
        self._holds = holds
        self._words = 0
        self.reached, self.go_on = Event(), Event()

    def __call__(self, progress: volary.Progress) -> None:
        self._words += 1
        if self._holds(self._words, progress):
            self.reached.set()
            self.go_on.wait(20)


def _paused(pool: volary.Pool, begin: Begin[T], gate: _Gate) -> volary.Job[T]:
    """Return a job that stands still where the gate held it, or that is done.

    The order to pause is in its mailbox when the gate opens: however fast the disk is, it stands
    at the same place.
    """
    job = begin(gate)
    job.add_done_callback(lambda _: gate.reached.set())
    try:
        assert gate.reached.wait(20), f"{job!r} did not begin: {job.state}"
        if not job.done():
            job.pause()
            pool.info()  # answered after the order was passed on
    finally:
        gate.go_on.set()
    wait_until(lambda: job.done() or job.state is volary.JobState.PAUSED, "the job is paused")
    return job


def paused_half_way(pool: volary.Pool, spec: volary.VolumeSpec) -> volary.Job[volary.Volume]:
    """Return a creation that stands still: some of the volume is written, and some is not.

    The engine must be `TALKATIVE`.
    """

    def begin(on_progress: Callable[[volary.Progress], None]) -> volary.Job[volary.Volume]:
        return pool.create_volume(spec, volary.ASYNC, on_progress=on_progress)

    return stopped_half_way(pool, begin)


def stopped_half_way(pool: volary.Pool, begin: Begin[T]) -> volary.Job[T]:
    """Return a job of the pool that stands still: some of its work is done, and some is not.

    The engine must be `TALKATIVE`, and the work have more than one extent.
    """
    gate = _Gate(lambda _, progress: 0 < progress.done < progress.total)
    job = _paused(pool, begin, gate)
    assert not job.done(), f"{job!r} never was half way: {job.exception()!r}"
    return job


def paused_after(pool: volary.Pool, begin: Begin[Any], words: int) -> volary.Job[Any]:
    """Return a job of the pool that stands still after so many words of its progress, or that has
    said fewer and is done.

    The engine must be `TALKATIVE`.
    """
    return _paused(pool, begin, _Gate(lambda said, _: said >= words))
