"""A bounded look into an open file."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from struct import Struct
from typing import Any

HEAD = 0x8200
"""Bytes that the first read takes: as many as libvirt looks at, and just enough to hold the
identifier of an ISO image at 32769."""

BOUND = 256 << 10
"""Bytes that are read of one file at the most. The most is needed by a vhdx whose region table and
metadata table have as many entries as they may (64 KiB each, MS-VHDX 2.2.3 and 2.6.1), and by the
text of a vmdk that has a line for each 2 GiB."""

LONGEST_NAME = 4095
"""Bytes that QEMU takes for a file's name where the format has no bound of its own: PATH_MAX less
the byte that ends it."""


class BadHeader(Exception):  # noqa: N818
    """A header cannot be believed; the text says why, as `ImageInfo.problem` does."""


class TooFar(BadHeader):
    """A header asks for more than `BOUND` bytes to be read."""

    def __init__(self) -> None:
        super().__init__(f"the header is spread over more than {BOUND >> 10} KiB")


class Probe:
    """A window on the open file `fd` of `size` bytes that gives no more than `BOUND` bytes of it.

    name: the file's name, which nobody but QEMU's dmg driver asks for.
    head: the first `HEAD` bytes, or fewer when the file is shorter.
    taken: bytes read so far.
    """

    __slots__ = ("_fd", "head", "name", "size", "taken")

    def __init__(self, fd: int, size: int, name: str = "") -> None:
        """Read the head; an OSError of pread(2) passes through, here and in `read`."""
        self._fd = fd
        self.size = size
        self.name = name
        self.head = _head(fd, size)
        self.taken = len(self.head)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes at `offset`, or fewer at the end of the file.

        Raises `TooFar` when that would be more than may be read.
        """
        end = offset + length
        if end <= len(self.head):
            return self.head[offset:end]
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        if self.taken + length > BOUND:
            raise TooFar
        data = os.pread(self._fd, length, offset)
        self.taken += len(data)
        return data

    def unpack(self, layout: Struct, offset: int) -> tuple[Any, ...]:
        """Return the fields at `offset`; raise `BadHeader` where the file ends before them."""
        if offset + layout.size <= len(self.head):
            return layout.unpack_from(self.head, offset)
        data = self.read(offset, layout.size)
        if len(data) < layout.size:
            raise BadHeader(
                f"the file ends at {self.size} bytes, within the header, of which "
                f"{layout.size} bytes belong at {offset}"
            )
        return layout.unpack(data)

    def read_name(
        self, offset: int, length: int, what: str, *, longest: int = LONGEST_NAME
    ) -> str:
        """Return a file's name, whose bytes may be any, as `os.fsdecode` gives names.

        `what` says whose name it is, such as "the backing file's name"; `longest` in bytes.
        """
        if length > longest:
            raise BadHeader(f"{what} has {length} bytes; {longest} are the most")
        name = self.read(offset, length)
        if len(name) < length:
            raise BadHeader(f"{what} at {offset} goes beyond the end of the file")
        return decode_name(name, what)


def _head(fd: int, size: int) -> bytes:
    """Return the first `HEAD` bytes.

    Of a file that begins with a hole, as most raw images do, nothing is read. Of others no more
    than that is: the kernel would read ahead hundreds of KiB of each file of a pool.
    """
    try:
        if os.lseek(fd, 0, os.SEEK_DATA) >= HEAD:
            return bytes(min(size, HEAD))
    except OSError as error:
        if error.errno == errno.ENXIO:  # no data at all: lseek(2)
            return bytes(min(size, HEAD))
    with suppress(OSError):  # it is advice
        os.posix_fadvise(fd, 0, HEAD, os.POSIX_FADV_RANDOM)
    return os.pread(fd, HEAD, 0)


def decode_name(name: bytes, what: str) -> str:
    """Return a file's name of any bytes but zeros, as `os.fsdecode` gives names."""
    if len(name) > LONGEST_NAME:
        raise BadHeader(f"{what} has {len(name)} bytes; {LONGEST_NAME} are the most")
    if b"\0" in name:
        raise BadHeader(f"{what} has a zero byte in it")
    return name.decode("utf-8", "surrogateescape")
