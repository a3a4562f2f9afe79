"""The block device, or the image of one, that a pool's file system is on."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import Self

from volary.engine import loop_device
from volary.engine.errors import SourceUnusable, from_os_error
from volary.engine.mounts import Mount, mounts
from volary.engine.names import character_problem
from volary.engine.pool_spec import PoolSpec


@dataclass(frozen=True, slots=True)
class FileSystemSource:
    """A device or image that is there.

    path: where links lead to, which may lead elsewhere the next time.
    told: how messages call it.
    """

    path: str
    told: str
    answer: os.stat_result

    @classmethod
    def find(cls, spec: PoolSpec) -> Self:
        """Return what the pool's definition names; raises `SourceUnusable`."""
        devices = spec.source.devices
        if len(devices) != 1:
            raise SourceUnusable(
                f"pool {spec.name!r} has {len(devices)} source devices; a file system is on one: "
                "define the pool with one"
            )
        path = devices[0].path
        told = f"pool {spec.name!r}: source device {path}"
        problem = character_problem(path)
        if problem is not None:
            raise SourceUnusable(f"{told!r} {problem}")
        if not path.startswith("/"):
            raise SourceUnusable(
                f"{told} is no absolute path; give one, such as /dev/disk/by-uuid/… to have it "
                "found wherever it is attached"
            )
        path = os.path.realpath(path)
        try:
            answer = os.stat(path)
        except FileNotFoundError:
            raise SourceUnusable(
                f"{told} is missing; attach it, or define the pool with another"
            ) from None
        except OSError as error:
            raise from_os_error(error, f"looking at {told}") from error
        if not (stat.S_ISBLK(answer.st_mode) or stat.S_ISREG(answer.st_mode)):
            raise SourceUnusable(
                f"{told} is neither a block device nor an image of one; "
                "define the pool with another"
            )
        return cls(path, told, answer)

    @property
    def is_image(self) -> bool:
        """Whether it is a regular file, which a loop device shows as a disk."""
        return stat.S_ISREG(self.answer.st_mode)

    def is_behind(self, mount: Mount) -> bool:
        """Say whether it is what was mounted there."""
        if not mount.source.startswith("/"):
            return False
        if self.is_image:
            return loop_device.has_behind(mount.source, self.answer)
        try:
            source = os.stat(mount.source)
        except OSError:
            return False
        return stat.S_ISBLK(source.st_mode) and source.st_rdev == self.answer.st_rdev

    def sync(self) -> None:
        """Have what was written to it on disk, which wipefs(8) does not see to."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise from_os_error(error, f"writing to {self.told}") from error

    def require_unused(self) -> None:
        """Raise `SourceUnusable` when it is mounted, or something else of the kernel has it."""
        points = [mount.point for mount in mounts() if self.is_behind(mount)]
        if points:
            raise SourceUnusable(
                f"{self.told} is mounted at {', '.join(points)}; unmount it first"
            )
        if self.is_image:
            users = loop_device.devices_on(self.answer)
            if users:
                raise SourceUnusable(
                    f"{self.told} is attached to {', '.join(users)}; detach it first"
                )
            return
        try:
            # open(2): without O_CREAT it fails with EBUSY while the kernel has the device in use.
            os.close(os.open(self.path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise from_os_error(error, f"opening {self.told}") from error
            raise SourceUnusable(
                f"{self.told} is in use: swap, a volume group, a RAID, or a mounted partition is "
                "on it; stop that first"
            ) from None
