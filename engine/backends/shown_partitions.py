"""Partitions as the kernel shows them, beside those that the table has."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import suppress
from typing import Any, Final, TypeVar

from volary.engine.block_device import (
    Disk,
    KernelPartition,
    add_partition,
    delete_partition,
)
from volary.engine.errors import ToolFailed
from volary.engine.formats import process
from volary.engine.formats.process import Limits, Tool
from volary.engine.formats.sfdisk import Partition, PartitionTable
from volary.engine.log import log
from volary.engine.progress import Operation

_EXTENDED_NODE = 1024
"""Bytes of an extended partition that Linux shows: enough for a boot loader, and no more, so that
nobody takes it for a disk (block/partitions/msdos.c)."""

_MOST_SHOWN = 256
"""What the kernel's numbers of partitions are below (DISK_MAX_PARTS, linux/blkdev.h)."""

_UDEV: Final = "/run/udev/control"
_UDEVADM: Final = Tool("udevadm", "udev")
_LIMITS = Limits(cpu=30, memory=256 << 20)


def shown_size(table: PartitionTable, partition: Partition) -> int:
    """Return how many bytes of a partition are shown."""
    if partition == table.extended:
        return min(partition.size, max(_EXTENDED_NODE, table.sector))
    return partition.size


def is_shown(table: PartitionTable, partition: Partition, shown: KernelPartition | None) -> bool:
    """Say whether the kernel shows a partition where the table has it."""
    if shown is None or shown.start != partition.start:
        return False
    return partition == table.extended or shown.length == partition.size


def show_partitions(fd: int, disk: Disk, table: PartitionTable) -> bool:
    """Have the kernel show what is in the table, as far as nobody uses what it shows instead;
    return whether it shows all of it.
    """
    shown = disk.partitions()
    wanted = {each.number: each for each in table.partitions}
    for number, old in shown.items():
        new = wanted.get(number)
        if new is None or not is_shown(table, new, old):
            with suppress(OSError):  # it is in use: the pool's state tells
                delete_partition(fd, number)
    for number, new in wanted.items():
        if is_shown(table, new, shown.get(number)):
            continue
        try:
            add_partition(fd, number, new.start, shown_size(table, new))
        except OSError as error:
            log().warning(
                "the kernel does not show a partition",
                disk=disk.path,
                partition=number,
                why=os.strerror(error.errno or 0),
            )
    shown = disk.partitions()
    return all(is_shown(table, each, shown.get(each.number)) for each in table.partitions)


def is_claimed_at(fd: int, disk: Disk, new: Partition) -> bool:
    """Say whether the kernel uses the disk as a whole, and with it the bytes of `new`, where it
    shows no partition.

    It is asked of a partition that it shows for a moment. open(2) with O_EXCL would tell it of the
    disk, too, but not whether it is for one of its partitions that it is busy, and would itself
    keep others from using any of them at that moment.
    """
    taken = disk.partitions()
    number = next(each for each in range(1, _MOST_SHOWN) if each not in taken)
    add_partition(fd, number, new.start, new.size)
    try:
        os.close(os.open(disk.partition_path(number), os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return True
    else:
        return False
    finally:
        delete_partition(fd, number)


def hide_all(fd: int, disk: Disk) -> None:
    """Have the kernel show no partition of a disk; raises OSError with EBUSY, having shown all of
    them again, when anybody has one open.
    """
    hidden: list[KernelPartition] = []
    try:
        for number, each in sorted(disk.partitions().items()):
            delete_partition(fd, number)
            hidden.append(each)
    except OSError as error:
        for each in hidden:
            with suppress(OSError):
                add_partition(fd, each.number, each.start, each.length)
        if error.errno != errno.EBUSY:
            raise
        raise OSError(errno.EBUSY, "a partition is open") from None


def settle() -> Operation[None]:
    """Wait until udev has done what it does about the changes, where there is udev: it reads a
    table anew that somebody has written, and takes all partitions away for a moment.
    """
    if os.path.exists(_UDEV):
        with suppress(ToolFailed):  # it is late, and goes on
            yield from process.run(_UDEVADM, ["settle", "--timeout=10"], limits=_LIMITS)


T = TypeVar("T")


def finish(work: Generator[Any, None, T]) -> T:
    """Do all of an operation at once, so that nobody closes it early: it takes some milliseconds,
    and must not be left half done.
    """
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: T = stop.value
            return result
