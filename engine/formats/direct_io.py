"""Reading and writing past the page cache."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from types import TracebackType
from typing import Self

from volary.engine.linux import is_cached

BLOCK = 4096
"""Bytes that offset, length and memory of direct I/O are a multiple of: no file system asks for
more than its block size, and Linux mounts none above the page size of the common machines."""

_SYNC_EVERY = 64 << 20
"""Bytes of buffered writing between two fdatasync(2), so that progress tells of the disk and not
of the page cache, and the last sync is as short as the others."""

_HUGE_PAGE = 2 << 20


def huge_pages(size: int) -> memoryview:
    """Return `size` bytes of zeros in huge pages: few pages to pin make direct I/O up to 40 %
    faster than ordinary pages do.
    """
    area = mmap.mmap(-1, size + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            area.madvise(mmap.MADV_HUGEPAGE)
        except OSError as error:  # a kernel without transparent huge pages
            if error.errno != errno.EINVAL:
                raise
    area.write(bytes(len(area)))
    return memoryview(area)[:size]


class DirectFile:
    """An open file whose whole blocks pass the page cache by, where its file system lets them.

    Parts of blocks, at either end of a piece, go through the page cache, and so do small pieces if
    asked for, and everything where direct I/O is refused; what is written so is synced every
    64 MiB. The last sync is the caller's, in all cases.

    fd: the descriptor; O_DIRECT is set and cleared on it within the context, for all who share it.
    direct: False reads and writes through the page cache, and leaves the descriptor as it is.
    cached_below: pieces of fewer bytes than that go through the page cache; if it is above 0,
        larger ones are read from it, too, where it holds all of them.
    """

    def __init__(self, fd: int, *, direct: bool = True, cached_below: int = 0) -> None:
        self.fd = fd
        self.cached_below = cached_below
        # Whether it can be, and whether it is so at the moment.
        self._direct = self._is_direct = direct and _set_direct(fd, on=True)
        self._unsynced = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._turn(direct=False)

    def read(self, buffer: memoryview, offset: int) -> int:
        """Read from `offset` on into the buffer, and return how much: 0 at the end of the file.

        Passes the page cache by when offset, length and memory are whole blocks.
        """
        length = len(buffer)
        direct = self._direct and length >= self.cached_below
        if direct and self.cached_below and is_cached(self.fd, offset, length):
            direct = False  # memory is faster than the disk
        if direct and offset % BLOCK == 0 and length % BLOCK == 0:
            self._turn(direct=True)
            try:
                return os.preadv(self.fd, [buffer], offset)
            except OSError as error:
                self._give_up(error)
        self._turn(direct=False)
        return os.preadv(self.fd, [buffer], offset)

    def write(self, data: memoryview, offset: int) -> None:
        """Write all of it from `offset` on.

        Passes the page cache by when the data's address is as far from a whole block as `offset`.
        """
        cached = len(data) < self.cached_below
        while data:
            if cached or not self._direct:
                written = self._write_cached(data, offset)
            else:
                written = self._write_direct(data, offset)
            offset += written
            data = data[written:]

    def _write_direct(self, data: memoryview, offset: int) -> int:
        """Write its whole blocks, or the part of one that it begins with; return how much."""
        whole = len(data) - len(data) % BLOCK
        if offset % BLOCK or not whole:
            return self._write_cached(data[: BLOCK - offset % BLOCK], offset)
        self._turn(direct=True)
        try:
            return os.pwrite(self.fd, data[:whole], offset)
        except OSError as error:
            self._give_up(error)
            return 0

    def _write_cached(self, data: memoryview, offset: int) -> int:
        """Write what one call takes, and return how much that was."""
        self._turn(direct=False)
        written = os.pwrite(self.fd, data, offset)
        self._unsynced += written
        if self._unsynced >= _SYNC_EVERY:
            os.fdatasync(self.fd)
            self._unsynced = 0
        return written

    def _turn(self, *, direct: bool) -> None:
        """Have the descriptor direct or not, asking the system only where that is a change."""
        if direct != self._is_direct:
            self._is_direct = _set_direct(self.fd, on=direct)

    def _give_up(self, error: OSError) -> None:
        """Go on without direct I/O: a file system may take the flag and yet refuse the call
        (EINVAL, open(2)).
        """
        if error.errno != errno.EINVAL:
            raise error
        self._direct = False


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
