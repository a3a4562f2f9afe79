"""A pool that meets a defect of its own."""

from __future__ import annotations

from contextlib import suppress

import pytest
from tests.system.deadline import wait_until

import volary
from volary.engine.backends.open_directory import OpenDirectory
from volary.engine.pool_info import Space


def crash(pool: volary.Pool) -> None:
    """Have a pool's actor crash; return when it was started anew, and has looked at its disk."""
    before = newest_job(pool)
    sound = OpenDirectory.space

    def space(active: OpenDirectory) -> Space:
        if active.spec.name != pool.name:
            return sound(active)
        raise ZeroDivisionError("a defect")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenDirectory, "space", space)
        with pytest.raises(volary.PoolCrashed):
            pool.info()
    wait_for_restart(pool, before)


def newest_job(pool: volary.Pool) -> int:
    """Return the id of the pool's last job."""
    return max((job.id for job in pool.jobs()), default=0)


def wait_for_restart(pool: volary.Pool, before: int) -> None:
    """Return when a pool whose last job was `before` has crashed, was started anew, and has looked
    at its disk.
    """

    def is_restarted() -> bool:
        with suppress(volary.PoolCrashed):
            later = [job for job in pool.jobs() if job.id > before]
            refreshes = [job for job in later if job.operation == "refresh pool"]
            return any(job.state is volary.JobState.SUCCEEDED for job in refreshes)
        return False

    wait_until(is_restarted, "the pool was started anew")
