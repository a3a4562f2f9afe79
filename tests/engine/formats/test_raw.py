from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from volary.engine.formats import raw
from volary.engine.progress import Done
from volary.engine.volume_spec import Preallocation

MIB = 1 << 20


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def blocks(fd: int) -> int:
    return os.fstat(fd).st_blocks * 512


@pytest.mark.parametrize("capacity", [1, 511, 4096, 4097, 8 * MIB, 8 * MIB + 1, 1 << 40])
def test_a_sparse_image_has_its_capacity_and_no_blocks(fd: int, capacity: int) -> None:
    assert list(raw.create(fd, capacity=capacity, allocation=0, preallocation="off")) == []
    assert (os.fstat(fd).st_size, blocks(fd)) == (capacity, 0)


@pytest.mark.parametrize("way", ["falloc", "full"])
@pytest.mark.parametrize("capacity", [1, 511, 4096, 4097, 8 * MIB, 8 * MIB + 1, 20 * MIB + 3])
def test_an_allocated_image_is_all_on_disk_and_reads_as_zeros(
    fd: int, way: Preallocation, capacity: int
) -> None:
    steps = list(raw.create(fd, capacity=capacity, allocation=capacity, preallocation=way))
    assert steps[-1] == Done(capacity, capacity, capacity)
    assert os.fstat(fd).st_size == capacity
    assert blocks(fd) >= capacity
    assert os.pread(fd, capacity, 0) == bytes(capacity)


@pytest.mark.parametrize("way", ["falloc", "full"])
def test_a_partly_allocated_image_ends_in_a_hole(fd: int, way: Preallocation) -> None:
    list(raw.create(fd, capacity=64 * MIB, allocation=10 * MIB + 1, preallocation=way))
    assert os.fstat(fd).st_size == 64 * MIB
    assert 10 * MIB < blocks(fd) < 11 * MIB


def test_a_full_image_is_really_written(fd: int) -> None:
    list(raw.create(fd, capacity=16 * MIB, allocation=16 * MIB, preallocation="full"))
    # Reserved extents that nobody wrote are holes to SEEK_DATA (lseek(2)); written ones are data.
    assert os.lseek(fd, 0, os.SEEK_DATA) == 0
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 16 * MIB


def test_progress_never_goes_back_and_ends_at_the_total(fd: int) -> None:
    work = raw.create(fd, capacity=40 * MIB, allocation=40 * MIB, preallocation="full")
    steps = [step for step in work if isinstance(step, Done)]
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert {step.total for step in steps} == {40 * MIB}
    assert steps[-1].done == 40 * MIB


def test_space_is_taken_before_the_writing_begins(fd: int) -> None:
    first = next(raw.create(fd, capacity=40 * MIB, allocation=40 * MIB, preallocation="full"))
    assert first == Done(0, 40 * MIB, 40 * MIB)
