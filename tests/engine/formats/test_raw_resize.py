from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.engine.formats.driven import driven
from tests.engine.formats.sparse_file import MIB, blocks, bytes_of, content, sparse_file

from volary.engine.formats.raw import FALLOCATE_EXTENT
from volary.engine.formats.raw_resize import resize
from volary.engine.progress import Done


@pytest.mark.parametrize("allocate", [False, True])
@pytest.mark.parametrize("capacity", [5001, 8192, 3 * MIB + 1])
def test_what_is_added_reads_as_zeros(tmp_path: Path, capacity: int, allocate: bool) -> None:
    with sparse_file(tmp_path / "a", 5000, [(0, 5000)]) as fd:
        assert not driven(resize(fd, capacity, allocate=allocate))
        assert bytes_of(fd) == content(5000, 0) + bytes(capacity - 5000)


def test_what_is_added_takes_no_space(tmp_path: Path) -> None:
    with sparse_file(tmp_path / "a", MIB, [(0, MIB)]) as fd:
        driven(resize(fd, 1 << 40, allocate=False))
        assert (os.fstat(fd).st_size, blocks(fd)) == (1 << 40, MIB)


def test_what_is_added_is_reserved_when_asked(tmp_path: Path) -> None:
    with sparse_file(tmp_path / "a", 2 * MIB, [(0, MIB)]) as fd:
        told: list[Done] = []
        driven(resize(fd, 5 * MIB, allocate=True), told)
        assert told[-1] == Done(3 * MIB, 3 * MIB, 3 * MIB)
        assert blocks(fd) == 4 * MIB


@pytest.mark.parametrize("allocate", [False, True])
def test_a_smaller_capacity_cuts_the_end_off(tmp_path: Path, allocate: bool) -> None:
    with sparse_file(tmp_path / "a", MIB, [(0, MIB)]) as fd:
        driven(resize(fd, 5000, allocate=allocate))
        assert bytes_of(fd) == content(MIB, 0)[:5000]


def test_nothing_is_done_before_the_first_step(tmp_path: Path) -> None:
    with sparse_file(tmp_path / "a", MIB, [(0, MIB)]) as fd:
        work = resize(fd, 5000, allocate=False)
        next(work)
        work.close()
        assert os.fstat(fd).st_size == MIB


def test_closed_early_it_leaves_size_and_space_as_they_were(tmp_path: Path) -> None:
    with sparse_file(tmp_path / "a", 3 * MIB, [(0, MIB)]) as fd:
        work = resize(fd, 2 * FALLOCATE_EXTENT + MIB, allocate=True)
        while blocks(fd) <= MIB:
            next(work)
        work.close()
        assert (os.fstat(fd).st_size, blocks(fd)) == (3 * MIB, MIB)
