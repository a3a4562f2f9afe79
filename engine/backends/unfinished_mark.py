"""The mark of a partition whose content was not written to its end.

The code that a dos table has for it, for experiments and local use, may be anybody's: what has
that and not the mark as well is left alone. The mark is the last sector, which content overwrites
last. (A gpt table has a code that is nobody else's.)
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from volary.engine.formats.sfdisk import Partition

_MAGIC: Final = b"volary: this partition was not finished"


def put(disk: int, partition: Partition, sector: int) -> None:
    """Write the mark of a partition that is nobody's yet; `disk` is a descriptor of the disk, and
    `sector` the bytes of one.
    """
    os.pwrite(disk, _mark(partition, sector), partition.end - sector)


def clear(fd: int, partition: Partition, sector: int) -> None:
    """Have the last sector be zeros where the content, which is shorter, has left the mark there;
    `fd` is the partition's.
    """
    at = partition.size - sector
    if os.pread(fd, sector, at) == _mark(partition, sector):
        os.pwrite(fd, bytes(sector), at)


def is_there(path: str, partition: Partition, sector: int) -> bool:
    """Say whether a partition of the disk at `path` has its mark."""
    # Past the page cache: the disk has one and the partition another, neither of which knows what
    # was written through the other.
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, max(sector, mmap.PAGESIZE)) as area:
            read = os.preadv(fd, [memoryview(area)[:sector]], partition.end - sector)
            return bytes(area[:read]) == _mark(partition, sector)
    finally:
        os.close(fd)


def _mark(partition: Partition, sector: int) -> bytes:
    return (_MAGIC + partition.start.to_bytes(8, "little")).ljust(sector, b"\0")
