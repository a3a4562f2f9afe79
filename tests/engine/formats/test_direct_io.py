from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.formats.sparse_file import KIB, bytes_of, content, sparse_file

from volary.engine.formats.direct_io import BLOCK, DirectFile, huge_pages
from volary.engine.linux import is_cached


def is_direct(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("direct") / "file"


@given(offset=st.integers(0, 20000), length=st.integers(0, 40000))
def test_what_is_written_is_there_and_nothing_else_changes(
    path: Path, offset: int, length: int
) -> None:
    buffer = huge_pages(64 * KIB)
    skipped = offset % BLOCK
    buffer[skipped : skipped + length] = content(length)
    with sparse_file(path, 64 * KIB, [(0, 64 * KIB)]) as fd:
        before = bytes_of(fd)
        with DirectFile(fd) as file:
            file.write(buffer[skipped : skipped + length], offset)
        assert bytes_of(fd) == before[:offset] + content(length) + before[offset + length :]


def test_memory_that_is_not_aligned_is_written_all_the_same(path: Path) -> None:
    with sparse_file(path, 64 * KIB, []) as fd:
        with DirectFile(fd) as file:
            file.write(memoryview(b"-" + content(64 * KIB))[1:], 0)
        assert bytes_of(fd) == content(64 * KIB)


@pytest.mark.parametrize(("offset", "length"), [(0, 8192), (0, 100), (5, 4096), (4096, 65536)])
def test_what_is_read_is_what_is_there(path: Path, offset: int, length: int) -> None:
    buffer = huge_pages(64 * KIB)
    with sparse_file(path, 20000, [(0, 20000)]) as fd, DirectFile(fd) as file:
        got = file.read(buffer[:length], offset)
    assert bytes(buffer[:got]) == content(20000, 0)[offset : offset + length]


def test_nothing_is_read_beyond_the_end(path: Path) -> None:
    with sparse_file(path, 20000, []) as fd, DirectFile(fd) as file:
        assert file.read(huge_pages(BLOCK), 24576) == 0


def test_the_descriptor_is_direct_within_the_context_only(path: Path) -> None:
    with sparse_file(path, 0, []) as fd:
        with DirectFile(fd):
            assert is_direct(fd)
        assert not is_direct(fd)


def test_a_file_that_is_not_to_be_direct_is_left_so(path: Path) -> None:
    with sparse_file(path, 64 * KIB, []) as fd:
        with DirectFile(fd, direct=False) as file:
            assert not is_direct(fd)
            file.write(memoryview(content(64 * KIB)), 0)
        assert bytes_of(fd) == content(64 * KIB)


def test_small_pieces_go_through_the_page_cache_and_large_ones_past_it(path: Path) -> None:
    buffer = huge_pages(64 * KIB)
    buffer[:] = content(64 * KIB)
    with sparse_file(path, 128 * KIB, []) as fd:
        with DirectFile(fd, cached_below=16 * KIB) as file:
            directness = []
            for length, offset in ((8 * KIB, 0), (64 * KIB, 64 * KIB)):
                file.write(buffer[:length], offset)
                directness.append(is_direct(fd))
                file.read(buffer[:length], offset)
                directness.append(is_direct(fd))
        assert directness == [False, False, True, True]
        assert os.pread(fd, 8 * KIB, 0) == content(64 * KIB)[: 8 * KIB]
        assert bytes(buffer) == content(64 * KIB)


def test_the_page_cache_is_known_to_hold_what_was_read(path: Path) -> None:
    with sparse_file(path, 64 * KIB, [(0, 64 * KIB)]) as fd:
        os.pread(fd, 64 * KIB, 0)
        tells = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 5)
        assert is_cached(fd, 0, 64 * KIB) == tells
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        assert not is_cached(fd, 0, BLOCK)
        with DirectFile(fd, cached_below=1) as file:
            assert file.read(huge_pages(64 * KIB), 0) == 64 * KIB
        assert not is_cached(fd, 0, BLOCK)
