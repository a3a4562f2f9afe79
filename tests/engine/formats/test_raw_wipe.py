from __future__ import annotations

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
    content,
    data_map,
    pieces,
    sparse_file,
)

from volary.engine.errors import StorageFailed
from volary.engine.formats.raw_wipe import wipe
from volary.engine.linux import fallocate
from volary.engine.progress import Done, Sync
from volary.engine.wipe_algorithm import WipeAlgorithm

WRITING = [each for each in WipeAlgorithm if each is not WipeAlgorithm.TRIM]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wipe") / "file"


@given(layout=pieces(MIB))
def test_zeros_leave_nothing_and_holes_stay_holes(path: Path, layout: tuple[int, Pieces]) -> None:
    size, data = layout
    with sparse_file(path, size, data) as fd:
        where, taken = data_map(fd), blocks(fd)
        driven(wipe(fd, size, WipeAlgorithm.ZERO))
        assert bytes_of(fd) == bytes(size)
        assert (data_map(fd), blocks(fd)) == (where, taken)


@pytest.mark.parametrize("algorithm", WRITING)
def test_every_block_of_data_is_written_over(path: Path, algorithm: WipeAlgorithm) -> None:
    size = 100 * KIB + 7
    with sparse_file(path, size, [(8 * KIB, 12 * KIB), (60 * KIB, size - 60 * KIB)]) as fd:
        before, where = bytes_of(fd), data_map(fd)
        driven(wipe(fd, size, algorithm))
        after = bytes_of(fd)
        assert len(after) == size
        for begin, end in where:
            for block in range(begin, end, 512):
                assert (
                    after[block : min(block + 512, end)] != before[block : min(block + 512, end)]
                )
        assert data_map(fd) == where


@pytest.mark.parametrize(
    ("algorithm", "pattern"),
    [
        (WipeAlgorithm.ZERO, b"\x00"),
        (WipeAlgorithm.NNSA, b"\x00"),
        (WipeAlgorithm.DOD, b"\xff"),
        (WipeAlgorithm.BSI, b"\x7f"),
    ],
)
def test_what_is_read_afterwards_is_the_last_pattern(
    path: Path, algorithm: WipeAlgorithm, pattern: bytes
) -> None:
    with sparse_file(path, 9 * MIB + 1, [(0, 9 * MIB + 1)]) as fd:
        driven(wipe(fd, 9 * MIB + 1, algorithm))
        assert bytes_of(fd) == pattern * (9 * MIB + 1)


def test_random_bytes_are_others_in_each_extent(path: Path) -> None:
    with sparse_file(path, 16 * MIB, [(0, 16 * MIB)]) as fd:
        driven(wipe(fd, 16 * MIB, WipeAlgorithm.RANDOM))
        assert os.pread(fd, 64, 0) != os.pread(fd, 64, 8 * MIB)


def test_the_passes_come_in_their_order_each_synced(path: Path) -> None:
    found: list[bytes] = []
    with sparse_file(path, 4 * KIB, [(0, 4 * KIB)]) as fd:
        for at in wipe(fd, 4 * KIB, WipeAlgorithm.GUTMANN):
            if isinstance(at, Sync):
                assert at.perform() is None
                found.append(path.read_bytes())
    assert len(found) == len(set(found)) + 5  # 55, aa and the three thirds are written twice
    for written, each in zip(found, WipeAlgorithm.GUTMANN.passes, strict=True):
        if isinstance(each, bytes):
            assert written == (each * (4 * KIB))[: 4 * KIB]


def test_a_byte_that_reads_differently_is_found_by_the_verifying_pass(path: Path) -> None:
    with sparse_file(path, 64 * KIB, [(0, 64 * KIB)]) as fd:
        work = wipe(fd, 64 * KIB, WipeAlgorithm.DOD)
        syncs = 0
        for at in work:
            syncs += isinstance(at, Sync)
            if syncs == 3:
                break
        with open(path, "r+b") as other:
            other.seek(50_000)
            other.write(b"\x00")
        with pytest.raises(StorageFailed, match="other bytes are read than were written"):
            driven(work)


def test_progress_goes_over_all_passes(path: Path) -> None:
    with sparse_file(path, 64 * MIB, [(0, 20 * MIB)]) as fd:
        told: list[Done] = []
        driven(wipe(fd, 64 * MIB, WipeAlgorithm.NNSA), told)
        assert told[-1] == Done(80 * MIB, 80 * MIB)
        assert [at.done for at in told] == sorted(at.done for at in told)


def test_what_is_reserved_and_never_written_stays_so(path: Path) -> None:
    with sparse_file(path, 4 * MIB, []) as fd:
        fallocate(fd, 0, 4 * MIB)
        driven(wipe(fd, 4 * MIB, WipeAlgorithm.RANDOM))
        assert (data_map(fd), blocks(fd)) == ([], 4 * MIB)


def test_nothing_beyond_the_size_is_touched(path: Path) -> None:
    with sparse_file(path, 64 * KIB, [(0, 64 * KIB)]) as fd:
        driven(wipe(fd, 10_000, WipeAlgorithm.ZERO))
        assert bytes_of(fd) == bytes(10_000) + content(64 * KIB, 0)[10_000:]


def test_closed_early_it_has_wiped_as_much_as_it_said(path: Path) -> None:
    with sparse_file(path, 32 * MIB, [(0, 32 * MIB)]) as fd:
        work = wipe(fd, 32 * MIB, WipeAlgorithm.ZERO)
        done = 0
        while not done:
            at = next(work)
            done = at.done if isinstance(at, Done) else 0
        work.close()
        assert bytes_of(fd) == bytes(done) + content(32 * MIB, 0)[done:]


def test_trim_gives_the_space_back(path: Path) -> None:
    with sparse_file(path, 4 * MIB + 5, [(0, 4 * MIB + 5)]) as fd:
        told: list[Done] = []
        driven(wipe(fd, 4 * MIB + 5, WipeAlgorithm.TRIM), told)
        assert bytes_of(fd) == bytes(4 * MIB + 5)
        assert blocks(fd) == 0
        assert told[-1] == Done(4 * MIB + 5, 4 * MIB + 5)


@pytest.mark.parametrize("algorithm", WipeAlgorithm)
def test_an_empty_file_has_nothing_to_wipe(path: Path, algorithm: WipeAlgorithm) -> None:
    with sparse_file(path, 0, []) as fd:
        driven(wipe(fd, 0, algorithm))
        assert os.fstat(fd).st_size == 0
