"""Whether a directory in use is still what its path leads to, and takes changes."""

from __future__ import annotations

import os

from volary.engine.pool_info import PoolState


def directory_state(fd: int, path: str) -> PoolState:
    """Return the state of a pool whose volumes are in the open directory `fd`, found at `path`.

    INACCESSIBLE when the path leads there no more: the directory was removed or renamed, or what
    was mounted was unmounted or has something else mounted over it. DEGRADED when the file system
    is mounted read-only, by somebody or by its driver after an error (statvfs(3), ST_RDONLY).
    """
    try:
        if not os.path.samestat(os.stat(path), os.fstat(fd)):
            return PoolState.INACCESSIBLE
        flags = os.fstatvfs(fd).f_flag
    except OSError:
        return PoolState.INACCESSIBLE
    return PoolState.DEGRADED if flags & os.ST_RDONLY else PoolState.RUNNING
