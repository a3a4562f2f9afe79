"""Where on a disk there is room for a partition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from volary.engine.formats.sfdisk import Partition, PartitionTable

ALIGNMENT: Final = 1 << 20
"""Bytes that a partition's start is a multiple of: sfdisk's, and every common tool's."""


class FreeExtent(NamedTuple):
    """Bytes that no partition has, `end` being the first behind them.

    start: aligned.
    logical: whether it is within an extended partition.
    """

    start: int
    end: int
    logical: bool = False

    @property
    def size(self) -> int:
        """Bytes that a partition there can have."""
        return self.end - self.start


def free_extents(table: PartitionTable) -> tuple[FreeExtent, ...]:
    """Return where a partition can begin, in the order of the disk."""
    found = [FreeExtent(start, end) for start, end in _gaps(table.first, table.end, table.primary)]
    extended = table.extended
    if extended is not None:
        # Each logical partition has its own table, of a sector, somewhere before it: what lies
        # between two of them may hold the latter's. Behind all of them is nothing. sfdisk wants
        # a whole unit of alignment to be left for it.
        last = max((each.end for each in table.logical), default=extended.start)
        start = _aligned(last + ALIGNMENT)
        if start < extended.end:
            found.append(FreeExtent(start, extended.end, logical=True))
    return tuple(sorted(found))


def smallest_fitting(
    extents: Iterable[FreeExtent], size: int, *, logical: bool = False
) -> FreeExtent | None:
    """Return the smallest of the extents that has `size` bytes, the first one of several."""
    fitting = (each for each in extents if each.logical is logical and each.size >= size)
    return min(fitting, key=lambda each: each.size, default=None)


def room_behind(table: PartitionTable, partition: Partition) -> int:
    """Return how many bytes a partition can grow by where it is."""
    logical = table.is_logical(partition.number)
    end = table.end
    if logical:
        assert table.extended is not None  # noqa: S101 - it is in one
        if partition.end < max(each.end for each in table.logical):
            return 0  # the next one's own table may be there
        end = table.extended.end
    others = table.logical if logical else table.primary
    following = [each.start for each in others if each.start >= partition.end]
    return max(0, min([end, *following]) - partition.end)


def _gaps(first: int, end: int, taken: Iterable[Partition]) -> Iterator[tuple[int, int]]:
    start = _aligned(first)
    for each in sorted(taken, key=lambda each: each.start):
        if start < each.start:
            yield start, min(each.start, end)
        start = max(start, _aligned(each.end))
    if start < end:
        yield start, end


def _aligned(at: int) -> int:
    return -(-at // ALIGNMENT) * ALIGNMENT
