"""What a worker is to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from volary.engine.actors.job import Job
from volary.engine.progress import Operation


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is to do.

    start: makes the operation's generator.
    job: whose outcome it is.
    promised: whether the pool reckons with the bytes that are done.
    confirm: whether the pool must have taken note before the job ends; a volume's operations
        need not wait for it, since who looks next finds the note in the mailbox first.
    discard: lets go of a result that nobody takes.
    limit: bytes a second, or None.
    """

    start: Callable[[], Operation[Any]]
    job: Job[Any]
    promised: bool
    confirm: bool
    discard: Callable[[Any], None]
    limit: int | None
