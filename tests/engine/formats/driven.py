"""An operation that is driven as a worker drives it."""

from __future__ import annotations

from typing import TypeVar

from volary.engine.progress import Done, Need, Operation, Sync, go_on

T = TypeVar("T")


def driven(work: Operation[T], told: list[Done] | None = None) -> T:
    """Do all of an operation, with its syncs; note in `told` what it says."""
    try:
        said = next(work)
        while True:
            if isinstance(said, Sync):
                said = go_on(work, said.perform())
            elif isinstance(said, Need):
                said = go_on(work, None)
            else:
                if told is not None:
                    told.append(said)
                said = next(work)
    except StopIteration as stop:
        result: T = stop.value
        return result
