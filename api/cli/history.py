"""The jobs of past commands.

A job lives in its engine, and the command's engine ends with the command. What became of its
jobs is kept in `jobs.jsonl` in the state directory: one JSON object a line, the last ones only.
It is a convenience and promises nothing: a line that cannot be read is passed over.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from volary.api.cli.output import problem_document
from volary.engine.actors.job import Job
from volary.engine.errors import VolaryError
from volary.engine.job_state import JobState

KEPT = 200
"""Jobs that are remembered."""

_FILE = "jobs.jsonl"
_LARGEST = 4 << 20  # bytes read of it: many times what `KEPT` lines take


@dataclass(frozen=True, slots=True)
class PastJob:
    """A job that has ended.

    id: its number in the history.
    state: "succeeded", "failed" or "cancelled".
    bytes: what it had done.
    seconds: from its making to its end.
    when: when it was made, ISO 8601 in UTC.
    error: why it failed, as `problem_document` has it, or None.
    """

    id: int
    operation: str
    pool: str | None
    volume: str | None
    state: str
    bytes: int
    seconds: float
    when: str
    error: dict[str, Any] | None

    @classmethod
    def of(cls, job: Job[Any]) -> PastJob:
        """Return what is to be remembered of a job that has ended."""
        return cls(
            id=0,
            operation=job.operation,
            pool=job.pool,
            volume=job.volume,
            state=job.state.value,
            bytes=job.progress().done,
            seconds=round((job.ended or job.created) - job.created, 6),
            when=datetime.fromtimestamp(job.created, UTC).isoformat(timespec="seconds"),
            error=_error(job),
        )


def read_history(directory: str) -> list[PastJob]:
    """Return the jobs that are remembered, the oldest first; needs no lock."""
    try:
        with open(os.path.join(directory, _FILE), "rb") as file:
            lines = file.read(_LARGEST).splitlines()
    except OSError:
        return []
    return [job for line in lines if (job := _parse(line)) is not None]


def remember(directory: str, jobs: Sequence[Job[Any]]) -> None:
    """Add jobs that have ended, numbered on from those that are there."""
    if not jobs:
        return
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # two commands that end together write one by one
        past = read_history(directory)
        first = past[-1].id + 1 if past else 1
        past += [replace(PastJob.of(job), id=first + i) for i, job in enumerate(jobs)]
        _replace(directory, past[-KEPT:])
    finally:
        os.close(folder)


def clear_history(directory: str) -> int:
    """Forget every job; returns how many there were."""
    past = read_history(directory)
    try:
        os.unlink(os.path.join(directory, _FILE))
    except FileNotFoundError:
        return 0
    return len(past)


def _replace(directory: str, jobs: Iterable[PastJob]) -> None:
    """Write the file anew: a reader sees the old one or the new one, as a whole."""
    temporary = os.path.join(directory, f".{_FILE}.new")
    with suppress(FileNotFoundError):  # a command that was killed left it: we hold the lock
        os.unlink(temporary)
    with open(temporary, "x", encoding="utf-8") as file:  # O_EXCL: no link is followed
        file.writelines(json.dumps(asdict(job)) + "\n" for job in jobs)
    os.replace(temporary, os.path.join(directory, _FILE))


def _parse(line: bytes) -> PastJob | None:
    try:
        job = PastJob(**json.loads(line))
        datetime.fromisoformat(job.when)
    except (ValueError, TypeError, RecursionError):  # the last: brackets within brackets
        return None
    expected = (
        (job.id, int),
        (job.operation, str),
        (job.pool, str | None),
        (job.volume, str | None),
        (job.state, str),
        (job.bytes, int),
        (job.seconds, int | float),
        (job.when, str),
        (job.error, dict | None),
    )
    return job if all(isinstance(value, kind) for value, kind in expected) else None


def _error(job: Job[Any]) -> dict[str, Any] | None:
    if job.state is not JobState.FAILED:
        return None
    error = job.exception()
    code = int(error.code) if isinstance(error, VolaryError) else int(VolaryError.code)
    return problem_document(type(error).__name__, code, str(error))
