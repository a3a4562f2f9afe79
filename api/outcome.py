"""Whether a long call blocks or returns its job."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, TypeVar

from volary.engine.actors.job import Job
from volary.engine.errors import InvalidSpec, JobCancelled, VolaryError
from volary.engine.flags import ASYNC

T = TypeVar("T")

_NOT_UNDONE = ("wipe volume", "upload volume", "delete volume")
"""What writes over a volume in place."""


@contextmanager
def submitting(job: Job[Any]) -> Iterator[None]:
    """Have the job end with whatever keeps it from being submitted: what is leased to it, and what
    it holds, is given free so. What the caller asked wrongly, and what is no error of ours (Ctrl-C
    say), is raised at once; the rest is the job's outcome.
    """
    try:
        yield
    except BaseException as error:
        job.fail(error)
        if isinstance(error, InvalidSpec) or not isinstance(error, VolaryError):
            raise


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
        left = "nothing of it is left"
        if job.operation in _NOT_UNDONE:
            left = f"{job.progress().done} bytes were done, and are not undone"
        raise JobCancelled(
            f"{job.operation}: job {job.id} on {job.where} was cancelled; {left}"
        ) from None
    except BaseException:
        job.cancel()
        raise
