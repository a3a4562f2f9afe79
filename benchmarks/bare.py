"""The bare system calls that Volary's operations come down to, in one thread."""

from __future__ import annotations

import fcntl
import mmap
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from volary.engine.file_system import NameSync, name_sync
from volary.engine.linux import fallocate

_HUGE_PAGE = 2 << 20
_CALLS = ("open", "ftruncate", "link", "fsync", "fstat", "close")

Buffer: TypeAlias = mmap.mmap


def create_sparse(directory: str, count: int, capacity: int) -> float:
    """Create `count` sparse files, each one durable; return the seconds it took."""
    dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        began = time.perf_counter()
        for number in range(count):
            fd = open_unnamed(dir_fd)
            os.ftruncate(fd, capacity)
            give_name(fd, dir_fd, f"v{number}")
            os.fsync(fd)
            os.fstat(fd)
            os.close(fd)
        return time.perf_counter() - began
    finally:
        os.close(dir_fd)


def time_each_call(directory: str, count: int, capacity: int) -> dict[str, list[float]]:
    """Create as `create_sparse` does, and return the seconds that each of the calls took."""
    taken: dict[str, list[float]] = {name: [] for name in _CALLS}
    dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    fd = -1

    def open_it() -> None:
        nonlocal fd
        fd = open_unnamed(dir_fd)

    try:
        for number in range(count):
            calls: tuple[Callable[[], object], ...] = (
                open_it,
                lambda: os.ftruncate(fd, capacity),
                partial(lambda name: give_name(fd, dir_fd, name), f"v{number}"),
                lambda: os.fsync(fd),
                lambda: os.fstat(fd),
                lambda: os.close(fd),
            )
            for name, call in zip(_CALLS, calls, strict=True):
                began = time.perf_counter()
                call()
                taken[name].append(time.perf_counter() - began)
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
