"""Files with data here and there."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import strategies as st

from volary.engine.formats.data_runs import data_runs

KIB = 1 << 10
MIB = 1 << 20

Pieces = list[tuple[int, int]]


def pieces(largest: int) -> st.SearchStrategy[tuple[int, Pieces]]:
    """Sizes up to `largest`, each with the begins and lengths of data in it."""
    return st.integers(1, largest).flatmap(
        lambda size: st.tuples(
            st.just(size),
            st.lists(
                st.tuples(st.integers(0, size - 1), st.integers(1, 80 * KIB)), max_size=5
            ).map(lambda found: [(begin, min(length, size - begin)) for begin, length in found]),
        )
    )


def content(length: int, seed: int = 1) -> bytes:
    """The same random bytes every time."""
    return random.Random(seed).randbytes(length)


@contextmanager
def sparse_file(path: Path, size: int, data: Pieces) -> Iterator[int]:
    """A new file, open, of that size, with data at these places."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.ftruncate(fd, size)
        for begin, length in data:
            os.pwrite(fd, content(length, begin), begin)
        yield fd
    finally:
        os.close(fd)


def data_map(fd: int) -> Pieces:
    """Where a file has data: begins and ends."""
    return list(data_runs(fd, 0, os.fstat(fd).st_size))


def bytes_of(fd: int) -> bytes:
    """Everything in the file."""
    return os.pread(fd, os.fstat(fd).st_size + 1, 0)


def blocks(fd: int) -> int:
    """How many bytes of disk a file takes."""
    return os.fstat(fd).st_blocks * 512
