"""The bare system calls that Volary's operations come down to, in one thread."""

from __future__ import annotations

import fcntl
import mmap
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from volary.engine.file_system import NameSync, name_sync
from volary.engine.linux import fallocate

_HUGE_PAGE = 2 << 20
Buffer: TypeAlias = mmap.mmap

Pieces: TypeAlias = Sequence[tuple[int, bytes]]
"""What is written to a file, and where."""


def create(directory: str, count: int, size: int, pieces: Pieces = ()) -> float:
    """Create `count` files of `size` bytes, each one durable; return the seconds it took.

    What is written to a file is on disk before its name is.
    """
    dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        began = time.perf_counter()
        for number in range(count):
            fd = open_unnamed(dir_fd)
            os.ftruncate(fd, size)
            if pieces:
                for offset, piece in pieces:
                    os.pwrite(fd, piece, offset)
                os.fsync(fd)
            give_name(fd, dir_fd, f"v{number}")
            os.fsync(fd)
            os.fstat(fd)
            os.close(fd)
        return time.perf_counter() - began
    finally:
        os.close(dir_fd)


def time_each_call(
    directory: str, count: int, size: int, pieces: Pieces = ()
) -> dict[str, list[float]]:
    """Create as `create` does, and return the seconds that each of the calls took."""
    dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    fd = -1
    name = ""

    def open_it() -> None:
        nonlocal fd
        fd = open_unnamed(dir_fd)

    def write() -> None:
        for offset, piece in pieces:
            os.pwrite(fd, piece, offset)

    calls: dict[str, Callable[[], object]] = {
        "open": open_it,
        "ftruncate": lambda: os.ftruncate(fd, size),
        "pwrite, all": write,
        "fsync before the link": lambda: os.fsync(fd),
        "link": lambda: give_name(fd, dir_fd, name),
        "fsync": lambda: os.fsync(fd),
        "fstat": lambda: os.fstat(fd),
        "close": lambda: os.close(fd),
    }
    if not pieces:
        del calls["pwrite, all"], calls["fsync before the link"]
    taken: dict[str, list[float]] = {name: [] for name in calls}
    try:
        for number in range(count):
            name = f"v{number}"
            for what, call in calls.items():
                began = time.perf_counter()
                call()
                taken[what].append(time.perf_counter() - began)
    finally:
        os.close(dir_fd)
    return taken


def open_unnamed(dir_fd: int) -> int:
    """Open a file without a name, which vanishes when it is closed."""
    return os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)


def give_name(fd: int, dir_fd: int, name: str) -> None:
    """Give an unnamed file its name."""
    os.link(
        f"/proc/self/fd/{fd}", name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=True
    )


def sync_name(fd: int, dir_fd: int) -> None:
    """Sync what puts a new name on disk: which descriptor's that is, the file system decides."""
    os.fsync(fd if name_sync(dir_fd) is NameSync.FILE else dir_fd)


def sync_file(path: str) -> None:
    """Put a file that somebody else wrote on disk, and its name."""
    for name, flags in ((path, os.O_WRONLY), (os.path.dirname(path), os.O_DIRECTORY)):
        fd = os.open(name, flags)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def reserve(fd: int, size: int, extent: int) -> None:
    """Give the file `size` bytes, reserved by one fallocate(2) an extent."""
    os.ftruncate(fd, size)
    for start in range(0, size, extent):
        fallocate(fd, start, min(extent, size - start))


def zeros(size: int, *, huge: bool) -> Buffer:
    """Return `size` bytes of zeros, at least, in huge or in ordinary pages."""
    area = mmap.mmap(-1, size + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    area.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
    area.write(bytes(len(area)))
    return area


def write_direct(fd: int, size: int, extent: int, buffer: Buffer) -> None:
    """Write `size` bytes from the file's start by O_DIRECT, an extent at a time."""
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_DIRECT)
    view = memoryview(buffer)[:extent]
    offset = 0
    while offset < size:
        offset += os.pwrite(fd, view[: size - offset], offset)


def dd(path: str, size: int, block: int) -> float:
    """Have dd(1) write `size` zeros to a new file, directly and synced; return the seconds."""
    command = [
        "dd",
        "if=/dev/zero",
        f"of={path}",
        f"bs={block}",
        f"count={size // block}",
        "oflag=direct",
        "conv=fsync",
        "status=none",
    ]
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began
