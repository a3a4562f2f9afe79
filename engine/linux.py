"""System calls of Linux that Python's os module has not."""

from __future__ import annotations

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)

RENAME_NOREPLACE = 1
"""renameat2(2): fail with EEXIST rather than replace."""

_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_libc.fallocate.restype = ctypes.c_int


def fallocate(fd: int, offset: int, length: int) -> None:
    """Reserve `length` bytes of `fd` from `offset` on, reading as zeros: fallocate(2), mode 0.

    Not `os.posix_fallocate`: glibc's writes a byte into every block where the file system has no
    such call, slowly and unasked. This one raises OSError with EOPNOTSUPP there.
    """
    while _libc.fallocate(fd, 0, offset, length) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def rename_no_replace(dir_fd: int, old: str, new: str) -> None:
    """Rename `old` to `new` within `dir_fd`, or raise FileExistsError: renameat2(2).

    Raises OSError with EINVAL or ENOSYS where the file system or libc has no such call.
    """
    try:
        renameat2 = _libc.renameat2
    except AttributeError:  # glibc before 2.28, some musl
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    result = renameat2(
        ctypes.c_int(dir_fd),
        os.fsencode(old),
        ctypes.c_int(dir_fd),
        os.fsencode(new),
        ctypes.c_uint(RENAME_NOREPLACE),
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)
