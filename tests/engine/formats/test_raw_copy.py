from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from tests.engine.formats.driven import driven
from tests.engine.formats.sparse_file import (
    KIB,
    MIB,
    Pieces,
    blocks,
    bytes_of,
    data_map,
    pieces,
    sparse_file,
)

from volary.engine.errors import StorageFailed
from volary.engine.formats.raw_copy import copy, reflink
from volary.engine.linux import fallocate
from volary.engine.progress import Done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copy")


@given(layout=pieces(MIB))
def test_a_copy_has_the_content_and_the_holes_of_its_source(
    folder: Path, layout: tuple[int, Pieces]
) -> None:
    size, data = layout
    with (
        sparse_file(folder / "a", size, data) as source,
        sparse_file(folder / "b", size, []) as target,
    ):
        driven(copy(source, target, length=size))
        assert bytes_of(target) == bytes_of(source)
        assert data_map(target) == data_map(source)
        assert blocks(target) <= blocks(source)


def test_extents_that_were_reserved_and_never_written_are_not_copied(folder: Path) -> None:
    with (
        sparse_file(folder / "a", 4 * MIB, [(0, MIB)]) as source,
        sparse_file(folder / "b", 4 * MIB, []) as target,
    ):
        fallocate(source, MIB, 3 * MIB)
        driven(copy(source, target, length=4 * MIB))
        assert blocks(target) == MIB


def test_a_target_that_was_reserved_stays_so(folder: Path) -> None:
    with (
        sparse_file(folder / "a", 4 * MIB, [(MIB, MIB)]) as source,
        sparse_file(folder / "b", 4 * MIB, []) as target,
    ):
        fallocate(target, 0, 4 * MIB)
        driven(copy(source, target, length=4 * MIB))
        assert blocks(target) == 4 * MIB
        assert bytes_of(target) == bytes_of(source)


def test_a_larger_target_ends_in_a_hole(folder: Path) -> None:
    with (
        sparse_file(folder / "a", 5000, [(0, 5000)]) as source,
        sparse_file(folder / "b", MIB, []) as target,
    ):
        driven(copy(source, target, length=5000))
        assert bytes_of(target) == bytes_of(source) + bytes(MIB - 5000)


def test_progress_counts_data_and_not_holes(folder: Path) -> None:
    data = [(0, 20 * MIB), (100 * MIB, 5000)]
    with (
        sparse_file(folder / "a", 1 << 40, data) as source,
        sparse_file(folder / "b", 1 << 40, []) as target,
    ):
        told: list[Done] = []
        driven(copy(source, target, length=1 << 40), told)
        total = 20 * MIB + 8 * KIB
        assert told[-1] == Done(total, total, total)
        assert {at.total for at in told} <= {0, total}
        assert [at.done for at in told] == sorted(at.done for at in told)


def test_many_small_runs_are_copied_in_few_steps(folder: Path) -> None:
    data = [(n * 16 * KIB, 4 * KIB) for n in range(2000)]
    data[1000:] = [(40 * MIB, 9 * MIB)]  # and a large one among them, which is copied otherwise
    data += [(50 * MIB + n * 16 * KIB + 5, 3000) for n in range(1000)]
    size = 70 * MIB + 5
    with (
        sparse_file(folder / "a", size, data) as source,
        sparse_file(folder / "b", size, []) as target,
    ):
        told: list[Done] = []
        driven(copy(source, target, length=size), told)
        assert bytes_of(target) == bytes_of(source)
        assert data_map(target) == data_map(source)
        assert len(told) < 500


def test_what_the_target_has_already_is_taken_from_the_start(folder: Path) -> None:
    with (
        sparse_file(folder / "a", 32 * MIB, [(0, 32 * MIB)]) as source,
        sparse_file(folder / "b", 32 * MIB, []) as target,
    ):
        fallocate(target, 0, 10 * MIB)
        told: list[Done] = []
        driven(copy(source, target, length=32 * MIB, reserved=10 * MIB), told)
        taken = [at.taken for at in told if at.total]
        assert taken[0] == 10 * MIB
        assert taken[-1] == 32 * MIB


def test_a_source_that_is_cut_meanwhile_is_an_error(folder: Path) -> None:
    with (
        sparse_file(folder / "a", 32 * MIB, [(0, 32 * MIB)]) as source,
        sparse_file(folder / "b", 32 * MIB, []) as target,
    ):
        work = copy(source, target, length=32 * MIB)
        for at in work:
            if isinstance(at, Done) and at.done:
                break
        os.ftruncate(source, 12 * MIB)
        with pytest.raises(StorageFailed, match="something else has made the file shorter"):
            driven(work)


def test_a_copy_that_is_closed_early_leaves_the_source_as_it_was(folder: Path) -> None:
    with (
        sparse_file(folder / "a", 32 * MIB, [(0, 32 * MIB)]) as source,
        sparse_file(folder / "b", 32 * MIB, []) as target,
    ):
        before = bytes_of(source)
        work = copy(source, target, length=32 * MIB)
        next(work)
        next(work)
        work.close()
        assert bytes_of(source) == before
        assert not fcntl.fcntl(source, fcntl.F_GETFL) & os.O_DIRECT


def test_blocks_that_cannot_be_shared_leave_the_target_empty(tmp_path: Path) -> None:
    # Two file systems share nothing, whatever they are.
    other = os.memfd_create("other")
    try:
        with sparse_file(tmp_path / "a", MIB, [(0, MIB)]) as source:
            assert not reflink(source, other)
        assert os.fstat(other).st_size == 0
    finally:
        os.close(other)


def test_another_reason_not_to_share_blocks_is_an_error(tmp_path: Path) -> None:
    with sparse_file(tmp_path / "a", MIB, []) as source:
        unwritable = os.open(tmp_path / "a", os.O_RDONLY)
        try:
            with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
                reflink(source, unwritable)
        finally:
            os.close(unwritable)
