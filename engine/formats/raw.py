"""The raw format: the guest's bytes and nothing else."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os

from volary.engine.linux import fallocate
from volary.engine.progress import Done, Operation
from volary.engine.volume_spec import Preallocation

EXTENT = 8 << 20
"""Bytes written by one pwrite(2): benchmarks/extent_size.py shows why."""

FALLOCATE_EXTENT = 4 << 30
"""Bytes reserved by one fallocate(2): about a millisecond on ext4, so that a cancel waits no
longer than for a written extent, and what is done between two of them does not count."""

_ALIGNMENT = 4096
"""Bytes that offset and length of direct I/O are a multiple of: no file system asks for more
than its block size, and Linux mounts none above the page size of the common machines."""

_SYNC_EVERY = 64 << 20
"""Bytes of buffered writing between two fdatasync(2), so that progress tells of the disk and not
of the page cache, and the last sync is as short as the others."""

_HUGE_PAGE = 2 << 20


def _make_zeros() -> memoryview:
    """Return one extent of zeros in huge pages: few pages to pin make direct I/O up to 40 % faster
    than ordinary pages do.
    """
    area = mmap.mmap(-1, EXTENT + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            area.madvise(mmap.MADV_HUGEPAGE)
        except OSError as error:  # a kernel without transparent huge pages
            if error.errno != errno.EINVAL:
                raise
    area.write(bytes(len(area)))
    return memoryview(area).toreadonly()[:EXTENT]


class _Zeros:
    """The extent of zeros that all writers share, made at its first use."""

    _view: memoryview | None = None

    @classmethod
    def get(cls) -> memoryview:
        if cls._view is None:
            cls._view = _make_zeros()
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
    reserved = False
    try:
        for start in range(0, allocation, FALLOCATE_EXTENT):
            length = min(FALLOCATE_EXTENT, allocation - start)
            fallocate(fd, start, length)
            taken = start + length
            yield Done(taken if preallocation == "falloc" else 0, allocation, taken)
        reserved = True
    except OSError as error:
        # ENOSYS: seccomp filters of old container runtimes.
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    if preallocation == "falloc" and reserved:
        return False
    yield from _write_zeros(fd, capacity, allocation, reserved=reserved)
    return True


def _write_zeros(fd: int, capacity: int, allocation: int, *, reserved: bool) -> Operation[None]:
    direct = _set_direct(fd, on=True)
    zeros = _Zeros.get()
    # Direct I/O writes whole blocks; what goes past the capacity is cut off again below.
    end = -(-allocation // _ALIGNMENT) * _ALIGNMENT if direct else allocation
    offset = synced = 0
    while offset < end:
        try:
            offset += os.pwrite(fd, zeros[: min(EXTENT, end - offset)], offset)
        except OSError as error:
            # A file system may take the flag and yet refuse the write (EINVAL, open(2)).
            if not (direct and error.errno == errno.EINVAL):
                raise
            direct = _set_direct(fd, on=False)
            continue
        if not direct and offset - synced >= _SYNC_EVERY:
            os.fdatasync(fd)
            synced = offset
        written = min(offset, allocation)
        yield Done(written, allocation, allocation if reserved else written)
    if direct:
        _set_direct(fd, on=False)
    if end > capacity:
        os.ftruncate(fd, capacity)


def _set_direct(fd: int, *, on: bool) -> bool:
    """Turn direct I/O on or off, and return whether it is on."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    flags = flags | os.O_DIRECT if on else flags & ~os.O_DIRECT
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return on
