"""The raw format: the guest's bytes and nothing else."""

from __future__ import annotations

import errno
import os

from volary.engine.formats.direct_io import BLOCK, DirectFile, huge_pages
from volary.engine.linux import fallocate
from volary.engine.progress import Done, Operation
from volary.engine.volume_spec import Preallocation

EXTENT = 8 << 20
"""Bytes written by one pwrite(2): benchmarks/extent_size.py shows why."""

FALLOCATE_EXTENT = 4 << 30
"""Bytes reserved by one fallocate(2): about a millisecond on ext4, so that a cancel waits no
longer than for a written extent, and what is done between two of them does not count."""


class _Zeros:
    """The extent of zeros that all writers share, made at its first use."""

    _view: memoryview | None = None

    @classmethod
    def get(cls) -> memoryview:
        if cls._view is None:
            cls._view = huge_pages(EXTENT).toreadonly()
        return cls._view


def create(
    fd: int, *, capacity: int, allocation: int, preallocation: Preallocation
) -> Operation[bool]:
    """Make the empty file `fd` a raw image of `capacity` bytes, the first `allocation` on disk.

    "falloc" reserves them; "full" reserves them where that is possible, so that space is short
    at once or not at all, and writes them with zeros. Returns whether anything was written.
    """
    os.ftruncate(fd, capacity)
    if allocation == 0:
        return False
    return (yield from allocate(fd, 0, allocation, preallocation=preallocation))


def allocate(fd: int, start: int, end: int, *, preallocation: Preallocation) -> Operation[bool]:
    """Put what lies from `start` to `end` on disk, reading as zeros; it is a hole so far.

    "falloc" reserves it; "full" reserves it where that is possible, and writes it with zeros.
    Returns whether anything was written.
    """
    total = end - start
    reserved = False
    try:
        for offset in range(start, end, FALLOCATE_EXTENT):
            length = min(FALLOCATE_EXTENT, end - offset)
            fallocate(fd, offset, length)
            taken = offset + length - start
            yield Done(taken if preallocation == "falloc" else 0, total, taken)
        reserved = True
    except OSError as error:
        # ENOSYS: seccomp filters of old container runtimes.
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    if preallocation == "falloc" and reserved:
        return False
    yield from _write_zeros(fd, start, end, reserved=reserved)
    return True


def _write_zeros(fd: int, start: int, end: int, *, reserved: bool) -> Operation[None]:
    total = end - start
    with DirectFile(fd) as file:
        written = 0
        while written < total:
            written += write_zeros(file, start + written, end)
            yield Done(written, total, total if reserved else written)


def write_zeros(file: DirectFile, offset: int, end: int) -> int:
    """Write zeros from `offset` on, not beyond `end`, one extent at the most; return how many."""
    skipped = offset % BLOCK  # as far from a whole block in memory as in the file: see DirectFile
    zeros = _Zeros.get()[skipped : skipped + end - offset]
    file.write(zeros, offset)
    return len(zeros)
