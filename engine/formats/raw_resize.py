"""Growing and shrinking a raw image."""

from __future__ import annotations

import os

from volary.engine.formats import raw
from volary.engine.progress import Done, Operation


def resize(fd: int, capacity: int, *, allocate: bool) -> Operation[bool]:
    """Give the raw image `fd` another capacity, in bytes.

    What is added reads as zeros; it is a hole, or reserved with `allocate`. What is cut off is
    lost. Returns whether anything was written. Closed early, or short of space, it leaves the
    image as it was.
    """
    before = os.fstat(fd).st_size
    yield Done()
    os.ftruncate(fd, capacity)
    if not allocate or capacity <= before:
        return False
    try:
        return (yield from raw.allocate(fd, before, capacity, preallocation="falloc"))
    except BaseException:
        os.ftruncate(fd, before)
        raise
