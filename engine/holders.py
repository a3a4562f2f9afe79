"""Who keeps a file system from being unmounted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

from volary.engine.mounts import mounts

_TOLD = 3


def told_holders(point: str) -> str:
    """Return which processes have something open below a mount point, and what else is mounted
    there, as far as /proc tells: some words, or "" when it does not tell.
    """
    inner = [mount.point for mount in mounts() if mount.point.startswith(f"{point}/")]
    processes = islice(_processes(point), _TOLD)
    return ", ".join([*(f"mount {path}" for path in inner[:_TOLD]), *processes])


def _processes(point: str) -> Iterator[str]:
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):  # it has ended, or is another user's
            if any(_is_below(point, path) for path in _opened(pid)):
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as name:
                    yield f"process {pid} ({name.read().strip()})"


def _opened(pid: str) -> Iterator[str]:
    """Return the paths that a process uses (proc(5)); asking for them reaches no file system."""
    for name in ("cwd", "root", "exe"):
        with suppress(OSError):  # a kernel thread has none
            yield os.readlink(f"/proc/{pid}/{name}")
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(OSError):  # closed since it was listed
            yield os.readlink(f"/proc/{pid}/fd/{fd}")


def _is_below(point: str, path: str) -> bool:
    return path == point or path.startswith(f"{point}/")
