from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from tests.engine.formats.driven import driven
from tests.engine.formats.sparse_file import KIB, MIB, Pieces, content, pieces, sparse_file

from volary.engine.formats.data_runs import Stretch, count_data, data_runs, stretches
from volary.engine.linux import fallocate
from volary.engine.progress import Done


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "file"


def test_runs_are_found_between_holes(path: Path) -> None:
    with sparse_file(path, MIB, [(64 * KIB, 8 * KIB), (512 * KIB, 4 * KIB)]) as fd:
        assert list(data_runs(fd, 0, MIB)) == [
            (64 * KIB, 72 * KIB),
            (512 * KIB, 516 * KIB),
        ]


def test_runs_are_cut_to_what_was_asked_for(path: Path) -> None:
    with sparse_file(path, MIB, [(0, MIB)]) as fd:
        assert list(data_runs(fd, 5, 100)) == [(5, 100)]
        assert list(data_runs(fd, 100, 100)) == []


def test_what_is_reserved_and_never_written_is_no_data(path: Path) -> None:
    with sparse_file(path, MIB, []) as fd:
        fallocate(fd, 0, MIB)
        assert list(data_runs(fd, 0, MIB)) == []


def test_a_file_that_cannot_tell_its_holes_is_all_data() -> None:
    # A pipe would say ESPIPE; this says EINVAL, as block devices do.
    fd = os.open("/proc/self/maps", os.O_RDONLY)
    try:
        assert list(data_runs(fd, 0, 100)) == [(0, 100)]
    finally:
        os.close(fd)


@given(layout=pieces(MIB))
def test_stretches_cover_everything_and_holes_are_zeros(
    path: Path, layout: tuple[int, Pieces]
) -> None:
    size, data = layout
    with sparse_file(path, size, data) as fd:
        found = list(stretches(fd, 0, size))
        assert [0, *(s.end for s in found)] == [*(s.begin for s in found), size]
        for stretch in found:
            if not stretch.is_data:
                length = stretch.end - stretch.begin
                assert os.pread(fd, length, stretch.begin) == bytes(length)


def test_a_hole_at_the_end_is_a_stretch(path: Path) -> None:
    with sparse_file(path, MIB, [(0, 4 * KIB)]) as fd:
        assert list(stretches(fd, 0, MIB)) == [
            Stretch(0, 4 * KIB, is_data=True),
            Stretch(4 * KIB, MIB, is_data=False),
        ]


def test_data_is_counted_in_steps_that_can_be_stopped(path: Path) -> None:
    with sparse_file(path, 32 * MIB, [(n * 16 * KIB, 4 * KIB) for n in range(2000)]) as fd:
        told: list[Done] = []
        assert driven(count_data(fd, 0, 32 * MIB), told) == 2000 * 4 * KIB
        assert len(told) == 2


def test_reading_a_map_changes_nothing(path: Path) -> None:
    with sparse_file(path, MIB, [(0, 100)]) as fd:
        list(stretches(fd, 0, MIB))
        assert os.pread(fd, 100, 0) == content(100, 0)
