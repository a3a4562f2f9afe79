"""Pools of type "disk": a disk whose partitions are the volumes."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic, sleep
from typing import Any, Self

from volary.engine.backends.backend import ActivePool, Backend
from volary.engine.backends.disk_table import DiskTable
from volary.engine.backends.open_disk import OpenDisk
from volary.engine.backends.shown_partitions import finish, hide_all, settle
from volary.engine.block_device import Disk, zero_out
from volary.engine.errors import (
    InvalidSpec,
    SourceMismatched,
    SourceMissing,
    SourceNotEmpty,
    SourceUnformatted,
    SourceUnusable,
    ToolFailed,
    Unsupported,
    from_os_error,
)
from volary.engine.flags import PoolBuild, PoolDelete
from volary.engine.formats import lsblk, sfdisk, signature
from volary.engine.mounts import mounts
from volary.engine.pool_source import PoolSource, SourceDevice
from volary.engine.progress import Done, Operation

_TABLE = 1 << 20
"""Bytes at either end of a disk that hold tables, and what libblkid knows its content by."""

_PATIENCE = 1.0
_PAUSE = 0.01
"""Seconds to wait for the disk's lock, and between two tries: udev looks at a disk that somebody
has written to.
"""


class DiskBackend(Backend):
    """A disk that is not in use."""

    type = "disk"

    @classmethod
    def find_sources(
        cls,
        wanted: PoolSource,  # noqa: ARG003 - this host is the only one
    ) -> Operation[tuple[PoolSource, ...]]:
        """Return the disks of this host that nobody uses, and that have a table or nothing at all.

        libvirt does not tell these.
        """
        devices = yield from lsblk.read("PATH,TYPE,SIZE,RO", "--bytes", "--nodeps")
        sources = []
        for path in _unused(devices):
            found: tuple[signature.Signature, ...] = ()
            with suppress(ToolFailed):  # a drive without a disk in it
                found = yield from signature.read(path)
            kinds = {each.type for each in found} - {"PMBR"}
            if kinds <= {*sfdisk.LABELS} and len(kinds) <= 1:
                format_ = next(iter(kinds), "unknown")
                sources.append(PoolSource(devices=(SourceDevice(path),), format=format_))
        return tuple(sources)

    # Building.

    def build(self, flags: PoolBuild = PoolBuild.NONE) -> Operation[None]:
        """Give the disk an empty table: if there is nothing on it, or in any case with the flag
        OVERWRITE.
        """
        yield Done()
        label = self._label_to_make(flags)
        disk = self._find()
        with _Claim(disk, self._where) as claim:
            if PoolBuild.OVERWRITE not in flags:
                found = finish(signature.read(disk.path))
                if found:
                    raise SourceNotEmpty(
                        f"{self._where} holds {signature.told(found)}; build the pool with "
                        "PoolBuild.OVERWRITE to lose it"
                    )
            claim.clear()
            finish(sfdisk.create(claim.fd, label))
        yield from settle()

    def _label_to_make(self, flags: PoolBuild) -> str:
        self._check_formatting(flags, "a disk")
        format_ = self.spec.source.format
        return "dos" if format_ in (None, "unknown") else self._supported(format_)

    def _supported(self, format_: str) -> str:
        if format_ not in sfdisk.LABELS:
            raise Unsupported(
                f"pool {self.spec.name!r}: tables of format {format_!r} are neither made nor "
                f"used; define the pool with one of {', '.join(sfdisk.LABELS)}"
            )
        return format_

    def delete(self, flags: PoolDelete = PoolDelete.NONE) -> Operation[None]:
        """Take the table off the disk, and with it all volumes."""
        yield Done()
        if flags:
            raise InvalidSpec(
                f"pool {self.spec.name!r}: no disk is deleted with PoolDelete.{flags.name}; "
                "wipe its volumes first to have their content gone"
            )
        disk = self._find()
        with _Claim(disk, self._where) as claim:
            # So that nothing else is destroyed that somebody has put there.
            finish(self._read_table(claim.fd))
            claim.clear()
        yield from settle()

    # Starting.

    def start(self) -> Operation[ActivePool]:
        """Look whether the disk is there and has the table that the definition says."""
        yield Done()
        disk = self._find()
        try:
            fd = disk.open(os.O_RDONLY)
            try:
                table = yield from self._read_table(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise from_os_error(error, f"reading {self._where}") from error
        return OpenDisk(self.spec, DiskTable(disk, table, self.spec.name))

    def _read_table(self, fd: int) -> Operation[sfdisk.PartitionTable]:
        """Return the table, which is of the kind that the definition says."""
        table = yield from sfdisk.read(fd)
        if table is None:
            raise SourceUnformatted(f"{self._where} has no partition table; build the pool first")
        format_ = self.spec.source.format
        if format_ not in (None, "unknown", table.label):
            raise SourceMismatched(
                f"{self._where} has a table of format {table.label!r}, and was to have one of "
                f"format {format_!r}; define the pool so, or build it with PoolBuild.OVERWRITE"
            )
        self._supported(table.label)
        return table

    def _find(self) -> Disk:
        """Return the disk that the definition names."""
        devices = self.spec.source.devices
        if len(devices) != 1:
            raise SourceUnusable(
                f"pool {self.spec.name!r} has {len(devices)} source devices; partitions are on "
                "one: define the pool with one"
            )
        path = devices[0].path
        if not path.startswith("/"):
            raise SourceUnusable(f"{self._where} is no absolute path; give one")
        try:
            disk = Disk.find(path)
        except FileNotFoundError:
            raise SourceMissing(
                f"{self._where} is missing; attach it, or define the pool with another"
            ) from None
        except OSError as error:
            raise from_os_error(error, f"looking at {self._where}") from error
        except ValueError as error:
            raise SourceUnusable(f"{self._where} {error}") from None
        if not disk.size:
            raise SourceMissing(f"{self._where} is empty: nothing is attached to it, or in it")
        return disk

    @property
    def _where(self) -> str:
        path = next((device.path for device in self.spec.source.devices), "")
        return f"pool {self.spec.name!r}: source device {path}"


class _Claim:
    """A disk that nobody else uses, as a context: neither it nor a partition of it is mounted,
    swapped to, or a part of a RAID or volume group.

    Nothing is yielded in it: whoever waits for the disk does not wait for a job that is paused.
    """

    def __init__(self, disk: Disk, where: str) -> None:
        self._disk = disk
        self._where = where
        self.fd = -1

    def __enter__(self) -> Self:
        try:
            # open(2): without O_CREAT it fails with EBUSY while the kernel has the disk, or any
            # partition of it, in use.
            self.fd = self._disk.open(os.O_RDWR | os.O_EXCL)
            self._lock()
        except OSError as error:
            self.__exit__()
            if error.errno not in (errno.EBUSY, errno.EAGAIN):
                raise from_os_error(error, f"opening {self._where}") from error
            raise self._busy() from None
        return self

    def _lock(self) -> None:
        """Lock it as udev, systemd and those who change a table do, who are waited for."""
        deadline = monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if monotonic() > deadline:
                    raise
                sleep(_PAUSE)
            else:
                return

    def __exit__(self, *_: object) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def clear(self) -> None:
        """Have the kernel show no partition, and the disk hold nothing known any more."""
        try:
            hide_all(self.fd, self._disk)
            size = self._disk.size
            edge = min(_TABLE, size)
            zero_out(self.fd, 0, edge)
            zero_out(self.fd, size - edge, edge)
            os.fsync(self.fd)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise from_os_error(error, f"clearing {self._where}") from error
            raise self._busy() from None

    def _busy(self) -> SourceUnusable:
        path = self._disk.path
        points = [
            f"{each.source} is mounted at {each.point}"
            for each in mounts()
            if _is_on(each.source, path)
        ]
        if points:
            told = f"{', '.join(points)}; unmount it first"
        else:
            told = (
                "swap, a volume group, a RAID or a program has it, or a part of it, open; end that"
            )
        return SourceUnusable(f"{self._where} is in use: {told}")


def _is_on(source: str, disk: str) -> bool:
    return source.startswith(disk) and source[len(disk) :].lstrip("p").isdecimal() | (
        source == disk
    )


def _unused(devices: list[dict[str, Any]]) -> Iterator[str]:
    """Return the paths of those of lsblk's devices that are disks, and that the kernel does not
    use, nor a partition of them.
    """
    for disk in devices:
        path = str(disk["path"])
        is_disk = disk["type"] in ("disk", "loop") and not path.startswith("/dev/zram")
        if is_disk and disk["size"] and not disk["ro"]:
            with suppress(OSError):
                os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
                yield path
