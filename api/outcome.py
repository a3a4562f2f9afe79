"""Whether a long call blocks or returns its job."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TypeVar

from volary.engine.actors.job import Job
from volary.engine.errors import JobCancelled
from volary.engine.flags import ASYNC

T = TypeVar("T")

_NOT_UNDONE = ("wipe volume", "upload volume", "delete volume")
"""What writes over a volume in place."""


def outcome(job: Job[T], flags: int = 0) -> T | Job[T]:
    """Return the job when `flags` has ASYNC; otherwise wait for it and return its result."""
    if flags & ASYNC:
        return job
    return blocking(job)


def blocking(job: Job[T]) -> T:
    """Wait for the job; a wait that is interrupted, by Ctrl-C say, cancels it first."""
    try:
        return job.result()
    except CancelledError:
        where = f"volume {job.volume!r} of pool" if job.volume is not None else "pool"
        left = "nothing of it is left"
        if job.operation in _NOT_UNDONE:
            left = f"{job.progress().done} bytes were done, and are not undone"
        raise JobCancelled(
            f"{job.operation}: job {job.id} on {where} {job.pool!r} was cancelled; {left}"
        ) from None
    except BaseException:
        job.cancel()
        raise
