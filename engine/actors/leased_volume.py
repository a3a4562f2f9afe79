"""A volume that a job may read, here or in another pool."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any, TypeVar

from volary.engine.actors import messages as m
from volary.engine.actors.job import Job
from volary.engine.actors.pool_ref import PoolRef
from volary.engine.backends import OpenVolume
from volary.engine.errors import PoolCrashed
from volary.engine.progress import Done, Operation
from volary.engine.volume_info import VolumeInfo

T = TypeVar("T")

_PATIENCE = 5.0
"""Seconds to wait for a pool that is being started anew."""

_PAUSE = 0.01


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
    """Do `work` with what these open, and close that when it is over.

    A pool that has just crashed is waited for: the one started in its place knows the lease.
    """
    with ExitStack() as opened:
        volumes = []
        for opener in openers:
            deadline = monotonic() + _PATIENCE
            while True:
                try:
                    volumes.append(opened.enter_context(closing(opener())))
                    break
                except PoolCrashed:
                    if monotonic() > deadline:
                        raise
                yield Done()
                sleep(_PAUSE)
        return (yield from work(volumes))
