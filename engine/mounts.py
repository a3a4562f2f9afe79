"""What is mounted where, as the kernel tells it (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """A mounted file system.

    id: the number by which /proc/PID/fdinfo tells which mount a descriptor is on.
    device: the file system's device number, which for btrfs is no disk's.
    point: the path that it is mounted at.
    type: the file system's.
    source: what was mounted: the path of a block device, or a word such as "none".
    """

    id: int
    device: int
    point: str
    type: str
    source: str


def mounts() -> tuple[Mount, ...]:
    """Return what is mounted in this process's mount namespace, the lower ones first."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return tuple(_mount(line) for line in lines)


def mount_of(fd: int) -> Mount | None:
    """Return the mount that an open file is on; None when it was unmounted since, or is hidden
    from this process.

    The device number would not do: btrfs has another one for each subvolume than for the mount.
    """
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as facts:
        number = next((int(line.split()[1]) for line in facts if line.startswith("mnt_id:")), None)
    return next((mount for mount in mounts() if mount.id == number), None)


def _mount(line: str) -> Mount:
    before, _, after = line.rstrip("\n").partition(" - ")
    number, _, device, _, point, *_ = before.split(" ")
    type_, source, *_ = after.split(" ")
    major, minor = map(int, device.split(":"))
    return Mount(int(number), os.makedev(major, minor), _plain(point), type_, _plain(source))


def _plain(word: str) -> str:
    """Return a word as it was before blanks, line ends and backslashes were written in octal."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), word)
