"""Loop devices: files that the kernel shows as disks (loop(4))."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import struct
from typing import Final

_GET_STATUS64 = 0x4C05
_INFO64: Final = struct.Struct("=QQ216x")
"""An ioctl of linux/loop.h, and what it fills in: struct loop_info64, which begins with the device
and the inode of the file behind."""

_MAJOR = 7
"""The number of loop devices' driver (Documentation/admin-guide/devices.txt)."""

_NAME = re.compile(r"loop[0-9]+")


def has_behind(device: str, file: os.stat_result) -> bool:
    """Say whether `device` is a loop device, and `file` is what is behind it."""
    try:
        # Asked before it is opened: what a file system of a user's own (FUSE) is said to be on
        # may be any path, and to open a FIFO or a device may wake somebody.
        node = os.stat(device)
        if not stat.S_ISBLK(node.st_mode) or os.major(node.st_rdev) != _MAJOR:
            return False
        fd = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # no path at all, or nothing of ours
        return False
    try:
        answer = fcntl.ioctl(fd, _GET_STATUS64, bytes(_INFO64.size))
    except OSError:  # it is no loop device, or nothing is attached to it
        return False
    finally:
        os.close(fd)
    number, inode = _INFO64.unpack(answer)
    return bool((number, inode) == (file.st_dev, file.st_ino))


def devices_on(file: os.stat_result) -> list[str]:
    """Return the loop devices that `file` is behind; none where /sys is hidden."""
    blocks = os.listdir("/sys/block") if os.path.isdir("/sys/block") else []
    names = sorted(name for name in blocks if _NAME.fullmatch(name))
    attached = [f"/dev/{name}" for name in names if os.path.exists(f"/sys/block/{name}/loop")]
    return [device for device in attached if has_behind(device, file)]
