"""Writing over what a file holds, so that it cannot be read any more."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from volary.engine.errors import StorageFailed
from volary.engine.formats.data_runs import count_data, data_runs
from volary.engine.formats.direct_io import BLOCK, DirectFile, huge_pages
from volary.engine.formats.raw import EXTENT
from volary.engine.formats.raw_copy import read_extent
from volary.engine.linux import punch_hole
from volary.engine.progress import Done, Operation, Sync
from volary.engine.wipe_algorithm import Pass, WipeAlgorithm, WipePass

_TRIM_EXTENT = 1 << 30
"""Bytes given back by one fallocate(2): a disk that is mounted with synchronous discard takes up
to 0.2 s for them, and a cancel waits for that."""


def wipe(fd: int, size: int, algorithm: WipeAlgorithm) -> Operation[None]:
    """Write over the data in the first `size` bytes of the file, pass by pass.

    Each pass is on disk before the next one begins. Holes, and extents that are reserved but were
    never written, have nothing to write over: they stay what they are, and read as zeros.

    A wipe cannot be undone: closed early, it leaves the file wiped from its start on as far as the
    first pass came, and what lies behind that as it was.
    """
    if algorithm is WipeAlgorithm.TRIM:
        yield from _trim(fd, size)
        return
    data = yield from count_data(fd, 0, size)
    passes = algorithm.passes
    with DirectFile(fd) as file:
        sweep = _Sweep(file, size)
        for number, each in enumerate(passes):
            for done in sweep.run(each):
                yield Done(number * data + min(done, data), len(passes) * data)
            yield Sync(fd)


class _Sweep:
    """Goes over a file's data, again and again."""

    def __init__(self, file: DirectFile, size: int) -> None:
        self._file = file
        self._size = size
        self._buffer = huge_pages(EXTENT)
        self._last = b""

    def run(self, each: WipePass) -> Iterator[int]:
        """Make one pass, and yield how many bytes are done after each extent."""
        if isinstance(each, bytes):
            count = -(-len(self._buffer) // len(each))
            self._last = (each * count)[: len(self._buffer)]
            self._buffer[:] = self._last
        done = 0
        for begin, end in data_runs(self._file.fd, 0, self._size):
            offset = begin
            while offset < end:
                extent = self._extent(each, offset, end)
                offset += extent
                done += extent
                yield done

    def _extent(self, each: WipePass, offset: int, end: int) -> int:
        """Write or verify one extent, and return its length."""
        skipped = offset % BLOCK
        if each is Pass.VERIFY:
            got = read_extent(self._file, self._buffer, offset, end, to=offset)
            if bytes(got) != self._last[skipped : skipped + len(got)]:
                raise StorageFailed(
                    f"between bytes {offset} and {offset + len(got)}, other bytes are read than "
                    "were written: wipe it again, and mind the disk"
                )
            return len(got)
        data = self._buffer[skipped : skipped + end - offset]
        if each is Pass.RANDOM:
            data[:] = os.urandom(len(data))
        self._file.write(data, offset)
        return len(data)


def _trim(fd: int, size: int) -> Operation[None]:
    """Give all space back."""
    # Only whole blocks are given back: the last one is, when its end lies beyond the file's.
    answer = os.fstat(fd)
    is_whole = stat.S_ISREG(answer.st_mode) and size >= answer.st_size
    end = -(-size // BLOCK) * BLOCK if is_whole else size
    for offset in range(0, end, _TRIM_EXTENT):
        length = min(_TRIM_EXTENT, end - offset)
        try:
            punch_hole(fd, offset, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            raise StorageFailed(
                "this file system or device cannot give back a part of a file; choose an "
                "algorithm that writes, such as zero"
            ) from None
        yield Done(min(offset + length, size), size)
    yield Sync(fd)
