"""What the kernel says of the file or the node of a volume."""

from __future__ import annotations

import os
import stat

from volary.engine.linux import birth_time
from volary.engine.volume_details import Inode

LABEL = "security.selinux"
"""The extended attribute that SELinux keeps a file's label in (selinux(8))."""


def inode_of(path: str, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> Inode:
    """Return what is known of what a path leads to; nothing is opened. Raises OSError.

    The arguments are those of `os.stat`.
    """
    answer = os.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
    return Inode(
        stat.S_IMODE(answer.st_mode),
        answer.st_uid,
        answer.st_gid,
        _label(path, dir_fd, follow_symlinks=follow_symlinks),
        answer.st_atime_ns,
        answer.st_mtime_ns,
        answer.st_ctime_ns,
        birth_time(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks),
    )


def _label(path: str, dir_fd: int | None, *, follow_symlinks: bool) -> str | None:
    if dir_fd is not None:
        path = f"/proc/self/fd/{dir_fd}/{path}"
    try:
        label = os.getxattr(path, LABEL, follow_symlinks=follow_symlinks)
    except OSError:  # none, or a file system without such
        return None
    return label.rstrip(b"\0").decode(errors="replace") or None
