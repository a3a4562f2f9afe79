"""Copying a raw image to a new one."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator
from time import monotonic

from volary.engine.errors import StorageFailed
from volary.engine.formats.data_runs import count_data, data_runs
from volary.engine.formats.direct_io import BLOCK, DirectFile, huge_pages
from volary.engine.formats.raw import EXTENT
from volary.engine.linux import share_blocks
from volary.engine.progress import Done, Operation

SMALL_RUN = 512 << 10
"""Bytes below which a run of data goes through the page cache, on both sides: see
docs/decisions/how-a-clone-is-copied.md."""

_AHEAD = 64
"""Small runs that are asked for before they are read: with more, it is not faster."""

_STEP_TIME = 0.02
"""Seconds of small runs between two yields: what a cancel waits for, and long beside a message."""

_CANNOT_SHARE = (
    errno.EOPNOTSUPP,  # not on this file system
    errno.ENOTTY,  # a file system that knows no such call
    errno.EXDEV,  # two file systems
    errno.EINVAL,  # not of these two: btrfs with and without nocow, xfs's real-time files, devices
)


def reflink(source_fd: int, target_fd: int) -> bool:
    """Make the empty target all that the source is, sharing its blocks, and say whether that went.

    Where it did not, the target is as it was. It takes no space until one of them is written.
    """
    try:
        share_blocks(source_fd, target_fd)
    except OSError as error:
        if error.errno not in _CANNOT_SHARE:
            raise
        return False
    return True


def copy(source_fd: int, target_fd: int, *, length: int, reserved: int = 0) -> Operation[None]:
    """Copy the source's first `length` bytes into the target, which is as long and all zeros.

    Holes, and extents that are reserved but were never written, are left as the target has them.
    Nothing is shared: the target's blocks are its own. Progress counts data, not holes.

    reserved: bytes that the target has on disk already, from its start on.
    """
    total = yield from count_data(source_fd, 0, length)
    buffer = huge_pages(EXTENT)
    done = taken = 0
    step = Step()
    with copied_file(source_fd) as source, copied_file(target_fd) as target:
        for begin, end in read_ahead(source, 0, length):
            offset = begin
            while offset < end:
                got = copy_extent(source, target, buffer, offset, end, to=offset)
                taken += max(0, offset + got - max(offset, reserved))
                offset += got
                done += got
                if step.is_over(got):
                    yield Done(done, max(done, total), reserved + taken)
    yield Done(done, max(done, total), reserved + taken)


def copied_file(fd: int) -> DirectFile:
    """Return a file that is copied from or to: large runs pass the page cache by."""
    return DirectFile(fd, cached_below=SMALL_RUN)


class Step:
    """How much is copied between two yields: an extent, or what a short time has of small runs."""

    def __init__(self) -> None:
        self._bytes = 0
        self._due = monotonic() + _STEP_TIME

    def is_over(self, more: int = 0) -> bool:
        """Say whether it is time to yield, when `more` bytes were copied; then begin anew."""
        self._bytes += more
        now = monotonic()
        if self._bytes < EXTENT and now < self._due:
            return False
        self._bytes = 0
        self._due = now + _STEP_TIME
        return True


def read_ahead(file: DirectFile, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what `data_runs` does, and have the small runs to come read already.

    The kernel itself reads ahead what is read in sequence, and takes small runs for random reads.
    """
    ahead: deque[tuple[int, int]] = deque()
    for begin, stop in data_runs(file.fd, start, end):
        if stop - begin < file.cached_below:
            os.posix_fadvise(file.fd, begin, stop - begin, os.POSIX_FADV_WILLNEED)
        ahead.append((begin, stop))
        if len(ahead) > _AHEAD:
            yield ahead.popleft()
    yield from ahead


def copy_extent(
    source: DirectFile, target: DirectFile, buffer: memoryview, offset: int, end: int, *, to: int
) -> int:
    """Copy what lies from `offset` on, not beyond `end`, to the target's byte `to` and on, an
    extent at the most; return how many bytes. The buffer is as for `read_extent`.
    """
    extent = read_extent(source, buffer, offset, end, to=to)
    target.write(extent, to)
    return len(extent)


def read_extent(
    file: DirectFile, buffer: memoryview, offset: int, end: int, *, to: int
) -> memoryview:
    """Read from `offset` on, not beyond `end`, and return what came, as a part of the buffer.

    It is as far from a whole block in memory as `to` is, where `DirectFile.write` can then put it
    past the page cache. It is read so, too, when `offset` is as far from a whole block. The buffer
    is of whole blocks.
    """
    skipped = to % BLOCK
    last = min(len(buffer), skipped + end - offset)
    if offset % BLOCK == skipped:
        # Whole blocks are asked for; what comes of them before `offset` and beyond `end` is left.
        got = file.read(buffer[: -(-last // BLOCK) * BLOCK], offset - skipped)
    else:
        got = skipped + file.read(buffer[skipped:last], offset)
    if got <= skipped:
        raise StorageFailed(
            f"the data ended at byte {offset} while it was read, {end - offset} bytes early: "
            "something else has made the file shorter"
        )
    return buffer[skipped : min(got, last)]
