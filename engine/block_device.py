"""Block devices: what the kernel tells of disks and their partitions, and what it is told."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

_ZERO_OUT: Final = 0x127F
_SECTOR_SIZE: Final = 0x1268
_PARTITION: Final = 0x1269
"""ioctls of linux/fs.h and linux/blkpg.h: BLKZEROOUT, BLKSSZGET and BLKPG."""

_ADD, _DELETE, _RESIZE = 1, 2, 3
"""What BLKPG does (linux/blkpg.h)."""

_SYSFS_SECTOR = 512
"""Bytes of the unit of sysfs's `start` and `size` (Documentation/ABI/stable/sysfs-block)."""


class _Partition(ctypes.Structure):
    """struct blkpg_partition; in bytes."""

    _fields_ = [
        ("start", ctypes.c_longlong),
        ("length", ctypes.c_longlong),
        ("number", ctypes.c_int),
        ("device_name", ctypes.c_char * 64),
        ("volume_name", ctypes.c_char * 64),
    ]


class _Request(ctypes.Structure):
    """struct blkpg_ioctl_arg."""

    _fields_ = [
        ("what", ctypes.c_int),
        ("flags", ctypes.c_int),
        ("length", ctypes.c_int),
        ("data", ctypes.c_void_p),
    ]


def _tell(fd: int, what: int, number: int, start: int = 0, length: int = 0) -> None:
    partition = _Partition(start=start, length=length, number=number)
    request = _Request(
        what=what, length=ctypes.sizeof(partition), data=ctypes.addressof(partition)
    )
    fcntl.ioctl(fd, _PARTITION, bytes(request))


def add_partition(fd: int, number: int, start: int, length: int) -> None:
    """Have the kernel show a partition of the disk `fd`; in bytes.

    Raises OSError with EBUSY when there is one of that number, or one that overlaps.
    """
    _tell(fd, _ADD, number, start, length)


def delete_partition(fd: int, number: int) -> None:
    """Have the kernel show a partition no more; its bytes stay.

    Raises OSError with EBUSY while anybody has it open, and with ENXIO when there is none.
    """
    _tell(fd, _DELETE, number)


def resize_partition(fd: int, number: int, start: int, length: int) -> None:
    """Have the kernel show a partition with another length, also while it is in use."""
    _tell(fd, _RESIZE, number, start, length)


def zero_out(fd: int, start: int, length: int) -> None:
    """Have bytes of a device read as zeros, which are written unless the device knows better:
    whole sectors.
    """
    fcntl.ioctl(fd, _ZERO_OUT, struct.pack("=QQ", start, length))


def sector_size(fd: int) -> int:
    """Return the bytes of a device's logical sectors, which are those that tables count in."""
    (size,) = struct.unpack("i", fcntl.ioctl(fd, _SECTOR_SIZE, bytes(4)))
    return int(size)


class KernelPartition(NamedTuple):
    """A partition as the kernel shows it; in bytes. device: its device number."""

    name: str
    number: int
    start: int
    length: int
    device: int


@dataclass(frozen=True, slots=True)
class Disk:
    """A whole disk, which is this one as long as `is_there` says so.

    path: of its node, such as "/dev/sdb".
    device: its device number.
    sequence: the kernel's number of what is in the drive or behind the loop device (Linux 5.15,
        `diskseq`); "" where it has none.
    """

    path: str
    device: int
    sequence: str

    @classmethod
    def find(cls, path: str) -> Self:
        """Return the disk that a path leads to; raises OSError, or ValueError saying why it is
        none, as the end of a sentence.
        """
        real = os.path.realpath(path)
        answer = os.stat(real)
        if not stat.S_ISBLK(answer.st_mode):
            raise ValueError("is no block device; attach an image to a loop device (losetup)")
        disk = cls(real, answer.st_rdev, "")
        if os.path.exists(disk._sysfs("partition")):
            raise ValueError("is a partition; give the disk that it is on")
        if os.path.exists(disk._sysfs("dm")):
            raise ValueError(
                "is made by the device mapper, to whose devices the kernel gives no "
                "partitions; give an ordinary disk"
            )
        return cls(real, answer.st_rdev, disk._fact("diskseq"))

    def _sysfs(self, *names: str) -> str:
        number = f"{os.major(self.device)}:{os.minor(self.device)}"
        return os.path.join("/sys/dev/block", number, *names)

    def _fact(self, *names: str) -> str:
        try:
            with open(self._sysfs(*names), encoding="ascii") as fact:
                return fact.read().strip()
        except OSError:
            return ""

    @property
    def is_there(self) -> bool:
        """Whether it was not taken away, or replaced by another one."""
        return bool(self.size) and self._fact("diskseq") == self.sequence

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written to it."""
        return self._fact("ro") == "1"

    @property
    def size(self) -> int:
        """Bytes; 0 when it is not there, or nothing is in it."""
        return int(self._fact("size") or 0) * _SYSFS_SECTOR

    def open(self, flags: int) -> int:
        """Open it, and return the descriptor.

        Raises OSError; FileNotFoundError also when another device has its path by now.
        """
        # The kernel opens it, and refuses to have it written to then.
        if flags & os.O_ACCMODE != os.O_RDONLY and self.is_read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), self.path)
        fd = os.open(self.path, flags | os.O_CLOEXEC)
        if os.fstat(fd).st_rdev == self.device and self.is_there:
            return fd
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "another device has its path", self.path)

    def partition_path(self, number: int) -> str:
        """Return the path of a partition's node: the kernel puts a "p" behind a digit."""
        return f"{self.path}{'p' if self.path[-1].isdecimal() else ''}{number}"

    def partition(self, number: int) -> KernelPartition | None:
        """Return a partition as the kernel shows it; None when it shows none of that number."""
        name = os.path.basename(self.partition_path(number))
        major, _, minor = self._fact(name, "dev").partition(":")
        if not minor:
            return None
        return KernelPartition(
            name,
            number,
            int(self._fact(name, "start") or 0) * _SYSFS_SECTOR,
            int(self._fact(name, "size") or 0) * _SYSFS_SECTOR,
            os.makedev(int(major), int(minor)),
        )

    def shown(self) -> frozenset[str]:
        """Return the names of the partitions that the kernel shows, among those of other facts."""
        try:
            return frozenset(os.listdir(self._sysfs()))
        except OSError:  # it is gone
            return frozenset()

    def partitions(self) -> dict[int, KernelPartition]:
        """Return the partitions that the kernel shows, by number."""
        facts = [self._fact(name, "partition") for name in self.shown()]
        numbers = [int(number) for number in facts if number]
        found = {number: self.partition(number) for number in numbers}
        return {number: each for number, each in found.items() if each is not None}

    def holders(self, partition: KernelPartition) -> list[str]:
        """Return what the kernel has made of a partition, such as "dm-0"."""
        try:
            return sorted(os.listdir(self._sysfs(partition.name, "holders")))
        except OSError:
            return []
