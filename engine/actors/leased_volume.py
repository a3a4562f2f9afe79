"""A volume that a job may read, here or in another pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, TypeVar

from volary.engine.actors import messages as m
from volary.engine.actors.job import Job
from volary.engine.actors.pool_ref import PoolRef
from volary.engine.backends import OpenVolume
from volary.engine.progress import Operation
from volary.engine.volume_info import VolumeInfo

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LeasedVolume:
    """A volume that nobody writes until the job is over, and what it was when it was leased.

    It is opened when the job begins, and not before: jobs that wait for their turn hold no
    descriptor, of which a process has few.

    format: what to read it as; None for what it is.
    """

    ref: PoolRef
    job: Job[Any]
    name: str
    format: str | None
    info: VolumeInfo

    def open(self) -> OpenVolume:
        """Open it, on a worker's thread."""
        return self.ref.ask(m.OpenLeased(self.job, self.name, self.format))


def with_opened(
    openers: Iterable[Callable[[], OpenVolume]],
    work: Callable[[Sequence[OpenVolume]], Operation[T]],
) -> Operation[T]:
    """Do `work` with what these open, and close that when it is over."""
    with ExitStack() as opened:
        volumes = [opened.enter_context(closing(opener())) for opener in openers]
        return (yield from work(volumes))
