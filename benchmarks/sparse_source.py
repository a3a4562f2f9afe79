"""A raw volume to clone: runs of data and holes in turns, half of it each."""

from __future__ import annotations

import os
import random

import volary

NAME = "source"

_SEED = 3
_MIB = 1 << 20
_LONGEST_RUN = 64 * _MIB


def make(pool: volary.Pool, size: int) -> volary.Volume:
    """Make the volume in the pool: `size` bytes, the runs 1 to 64 MiB long.

    The data is random: nothing on the way can compress it or find zeros in it.
    """
    lengths = random.Random(_SEED)
    fd = os.open(os.path.join(pool.target, NAME), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(fd, size)
        data, holes = size // 2, size - size // 2
        offset = 0
        while data or holes:
            length = min(lengths.randrange(_MIB, _LONGEST_RUN + 1, _MIB), data)
            for start in range(offset, offset + length, _MIB):
                os.pwrite(fd, os.urandom(min(_MIB, offset + length - start)), start)
            hole = min(lengths.randrange(_MIB, _LONGEST_RUN + 1, _MIB), holes)
            data, holes = data - length, holes - hole
            offset += length + hole
        os.fsync(fd)
    finally:
        os.close(fd)
    pool.refresh()
    return pool.volume(NAME)
