"""Where there is room on a disk for a partition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from volary.engine.backends.free_extents import (
    ALIGNMENT,
    FreeExtent,
    free_extents,
    room_behind,
    smallest_fitting,
)
from volary.engine.formats.sfdisk import Partition, PartitionTable

MIB = 1 << 20
SECTOR = 512


def table(*partitions: Partition, label: str = "gpt", end: int = 64 * MIB) -> PartitionTable:
    return PartitionTable(label, SECTOR, 34 * SECTOR, end, partitions)


def partition(number: int, start: int, size: int, type_: str = "83") -> Partition:
    return Partition(number, start, size, type_)


def test_an_empty_disk_is_free_from_the_first_mib_on() -> None:
    assert free_extents(table()) == (FreeExtent(MIB, 64 * MIB),)


def test_what_is_between_partitions_is_free_from_the_next_mib_on() -> None:
    found = free_extents(table(partition(2, 8 * MIB, MIB), partition(1, 2 * MIB, MIB + SECTOR)))
    assert found == (
        FreeExtent(MIB, 2 * MIB),
        FreeExtent(4 * MIB, 8 * MIB),
        FreeExtent(9 * MIB, 64 * MIB),
    )


def test_less_than_what_alignment_leaves_is_not_free() -> None:
    found = free_extents(
        table(partition(1, MIB, MIB + SECTOR), partition(2, 2 * MIB + 2 * SECTOR, 62 * MIB))
    )
    assert found == ()


def test_an_extended_partition_has_room_behind_its_logical_ones() -> None:
    extended = partition(1, MIB, 20 * MIB, "f")
    assert free_extents(table(extended, label="dos"))[0] == FreeExtent(
        2 * MIB, 21 * MIB, logical=True
    )
    logical = partition(5, 2 * MIB, 3 * MIB)
    assert free_extents(table(extended, logical, label="dos"))[0] == FreeExtent(
        6 * MIB, 21 * MIB, logical=True
    )
    logical = partition(5, 2 * MIB, 3 * MIB + SECTOR)
    assert free_extents(table(extended, logical, label="dos"))[0] == FreeExtent(
        7 * MIB, 21 * MIB, logical=True
    )


def test_the_smallest_extent_that_fits_is_taken() -> None:
    extents = (FreeExtent(0, 8), FreeExtent(10, 14), FreeExtent(20, 24), FreeExtent(30, 33))
    assert smallest_fitting(extents, 4) == FreeExtent(10, 14)
    assert smallest_fitting(extents, 9) is None
    assert smallest_fitting(extents, 1, logical=True) is None


def test_a_partition_can_grow_up_to_the_next_one() -> None:
    first, second = partition(1, MIB, MIB), partition(2, 5 * MIB, MIB)
    both = table(first, second)
    assert room_behind(both, first) == 3 * MIB
    assert room_behind(both, second) == 58 * MIB


def test_only_the_last_logical_partition_can_grow() -> None:
    extended = partition(1, MIB, 20 * MIB, "5")
    first, second = partition(5, 2 * MIB, MIB), partition(6, 8 * MIB, MIB)
    both = table(extended, first, second, label="dos")
    assert room_behind(both, first) == 0
    assert room_behind(both, second) == 12 * MIB


@given(st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 500)), max_size=12))
def test_free_extents_never_overlap_what_is_taken(parts: list[tuple[int, int]]) -> None:
    taken: list[Partition] = []
    end = 0
    for number, (gap, size) in enumerate(parts, 1):
        start = end + gap * SECTOR + 34 * SECTOR
        taken.append(partition(number, start, size * SECTOR))
        end = start + size * SECTOR
    whole = table(*taken, end=end + 3 * MIB)
    extents = free_extents(whole)
    for extent in extents:
        assert extent.start % ALIGNMENT == 0
        assert extent.size > 0
        assert extent.end <= whole.end
        assert all(each.end <= extent.start or extent.end <= each.start for each in taken)
    assert sum(each.size for each in extents) + ALIGNMENT * (len(taken) + 1) + sum(
        each.size for each in taken
    ) >= (whole.end - whole.first)
