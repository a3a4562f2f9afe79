"""System calls of Linux that Python's os module has not."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)

RENAME_NOREPLACE = 1
"""renameat2(2): fail with EEXIST rather than replace."""

_KEEP_SIZE = 0x1
_PUNCH_HOLE = 0x2
"""Modes of fallocate(2), from linux/falloc.h."""

_CACHESTAT = 451
"""The number of cachestat(2), the same on all machines (asm-generic/unistd.h) but alpha."""

_FICLONE = 0x40049409
"""ioctl_ficlone(2), from linux/fs.h: _IOW(0x94, 9, int), as every common machine has it."""

_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
"""Flags of sync_file_range(2), from linux/fs.h."""

# It holds the interpreter's lock meanwhile: for calls that only change an inode in memory, which
# take less time than another thread takes to let go of the lock again.
_quick_libc = ctypes.PyDLL(None, use_errno=True)
_quick_libc.fsetxattr.argtypes = [
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.c_int,
]
_quick_libc.fsetxattr.restype = ctypes.c_int
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
_libc.sync_file_range.restype = ctypes.c_int
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_libc.fallocate.restype = ctypes.c_int


def fallocate(fd: int, offset: int, length: int) -> None:
    """Reserve `length` bytes of `fd` from `offset` on, reading as zeros: fallocate(2), mode 0.

    Not `os.posix_fallocate`: glibc's writes a byte into every block where the file system has no
    such call, slowly and unasked. This one raises OSError with EOPNOTSUPP there.
    """
    _fallocate(fd, 0, offset, length)


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Give back what `length` bytes of `fd` from `offset` on are stored in: they read as zeros.

    The file keeps its size. Raises OSError with EOPNOTSUPP where the file system cannot.
    """
    _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, offset, length)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    while _libc.fallocate(fd, mode, offset, length) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def set_attribute(fd: int, name: bytes, value: bytes) -> None:
    """Set an extended attribute of a file: fsetxattr(2), without letting other threads run."""
    if _quick_libc.fsetxattr(fd, name, value, len(value), 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def start_writing(fd: int) -> None:
    """Have the kernel begin to write what it holds of the file: sync_file_range(2)."""
    _sync_file_range(fd, _WRITE)


def finish_writing(fd: int) -> None:
    """Wait until all that was written to the file is on the device, in its cache at least: the
    file's own metadata, such as where its blocks are, is not: sync_file_range(2).
    """
    _sync_file_range(fd, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)


def _sync_file_range(fd: int, flags: int) -> None:
    while _libc.sync_file_range(fd, 0, 0, flags) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


class _CacheStat(ctypes.Structure):
    """struct cachestat of linux/mman.h: counts of pages."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted")
    ]


def is_cached(fd: int, offset: int, length: int) -> bool:
    """Say whether the page cache holds all of `length` bytes of `fd` from `offset` on:
    cachestat(2), since Linux 6.5; False where the kernel does not tell.
    """
    stretch = (ctypes.c_uint64 * 2)(offset, length)
    found = _CacheStat()
    answer = _libc.syscall(
        ctypes.c_long(_CACHESTAT), fd, ctypes.byref(stretch), ctypes.byref(found), 0
    )
    return bool(answer == 0 and found.cached * mmap.PAGESIZE >= length)


def share_blocks(source_fd: int, target_fd: int) -> None:
    """Make the target all that the source is, sharing its blocks until one of them is written.

    Raises OSError with EOPNOTSUPP, EINVAL, ENOTTY or EXDEV where the file system cannot, or is
    another one.
    """
    fcntl.ioctl(target_fd, _FICLONE, source_fd)


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


class _StatxTime(ctypes.Structure):
    """struct statx_timestamp of linux/stat.h."""

    _fields_ = [
        ("seconds", ctypes.c_int64),
        ("nanoseconds", ctypes.c_uint32),
        ("reserved", ctypes.c_int32),
    ]


class _Statx(ctypes.Structure):
    """struct statx of linux/stat.h."""

    _fields_ = [
        ("mask", ctypes.c_uint32),
        ("before", ctypes.c_uint32 * 19),
        ("born", _StatxTime),
        ("after", ctypes.c_uint8 * 160),
    ]


_AT_FDCWD, _AT_SYMLINK_NOFOLLOW, _STATX_BTIME = -100, 0x100, 0x800


def birth_time(
    path: str, *, dir_fd: int | None = None, follow_symlinks: bool = True
) -> int | None:
    """Return when a file was made, in nanoseconds since the epoch: statx(2), with the arguments of
    `os.stat`. None where the file system does not keep it.
    """
    found = _Statx()
    try:
        statx = _libc.statx
    except AttributeError:  # glibc before 2.28, some musl
        return None
    answer = statx(
        ctypes.c_int(_AT_FDCWD if dir_fd is None else dir_fd),
        os.fsencode(path),
        ctypes.c_int(0 if follow_symlinks else _AT_SYMLINK_NOFOLLOW),
        ctypes.c_uint(_STATX_BTIME),
        ctypes.byref(found),
    )
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    if not found.mask & _STATX_BTIME:
        return None
    born: _StatxTime = found.born
    return int(born.seconds) * 10**9 + int(born.nanoseconds)


_FS_IOC_GETFLAGS = 0x80086601  # linux/fs.h, of a 64-bit kernel
_FS_IOC_SETFLAGS = 0x40086602
_FS_NOCOW_FL = 0x00800000


def set_no_copy_on_write(fd: int, *, on: bool = True) -> bool:
    """Have btrfs write the file, which must be empty, in place: ioctl_iflags(2), FS_NOCOW_FL. What
    is made in a directory gets it from that. `on` being False takes it back.

    Returns whether the file system took it; another than btrfs has no such thing, and needs none.
    """
    flags = bytearray(struct.calcsize("l"))
    try:
        fcntl.ioctl(fd, _FS_IOC_GETFLAGS, flags)
        (number,) = struct.unpack("l", flags)
        wanted = number | _FS_NOCOW_FL if on else number & ~_FS_NOCOW_FL
        fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("l", wanted))
    except OSError:
        return False
    return True
