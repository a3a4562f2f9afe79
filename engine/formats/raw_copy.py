"""Copying a raw image to a new one."""

from __future__ import annotations

import errno

from volary.engine.errors import StorageFailed
from volary.engine.formats.data_runs import count_data, data_runs
from volary.engine.formats.direct_io import BLOCK, DirectFile, huge_pages
from volary.engine.formats.raw import EXTENT
from volary.engine.linux import share_blocks
from volary.engine.progress import Done, Operation

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
    with DirectFile(source_fd) as source, DirectFile(target_fd) as target:
        for begin, end in data_runs(source_fd, 0, length):
            offset = begin
            while offset < end:
                got = read_extent(source, buffer, offset, end, to=offset)
                target.write(got, offset)
                taken += max(0, offset + len(got) - max(offset, reserved))
                offset += len(got)
                done += len(got)
                yield Done(done, max(done, total), reserved + taken)


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
