"""The table of a disk in use: how it is changed beside partitions that are in use themselves."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic, sleep
from typing import Final

from volary.engine.backends import unfinished_mark
from volary.engine.backends.free_extents import room_behind
from volary.engine.backends.shown_partitions import (
    finish,
    is_claimed_at,
    is_shown,
    settle,
    show_partitions,
    shown_size,
)
from volary.engine.block_device import (
    Disk,
    add_partition,
    delete_partition,
    resize_partition,
    zero_out,
)
from volary.engine.errors import (
    NoSpace,
    PoolBusy,
    SourceUnusable,
    StorageFailed,
    Unsupported,
    VolumeBusy,
)
from volary.engine.formats import sfdisk
from volary.engine.formats.partition_type import UNFINISHED
from volary.engine.formats.sfdisk import Partition, PartitionTable
from volary.engine.log import log
from volary.engine.mounts import mounts
from volary.engine.pool_info import PoolState
from volary.engine.progress import Done, Operation
from volary.engine.size import format_size

_PAUSE = 0.01
"""Seconds between two tries to have a disk's lock, or a partition that somebody has open."""

_PATIENCE = 1.0
"""Seconds to wait for whoever has a partition open: udev looks into each new one for a moment."""

_LOCK_PATIENCE = 60.0
"""Seconds to wait for a disk's lock: a change takes a tenth of a second, and there may be as many
as partitions."""

_EDGE: Final = 1 << 20
"""Bytes at each end of a new partition that are zeroed: all signatures that libblkid knows of file
systems, RAID, LVM and swap are there."""

_GONE: Final = (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.ENOMEDIUM)
_MOST_DIGITS = 4


class DiskTable:
    """The table of a disk, as it was read last.

    Each change is a read, a change and a write under a lock on the disk, at which others who
    change tables wait. The kernel is told of the one partition that has changed, since it would
    not read a table anew while any partition is in use. While it has the lock, an operation can
    neither be closed nor paused: nobody waits for one that does not go on.

    current: replaced as a whole by whoever has the lock.
    """

    def __init__(self, disk: Disk, table: PartitionTable, pool: str) -> None:
        self.disk = disk
        self.current = table
        self._pool = pool
        self._is_shown = True
        self._foreign: frozenset[int] = frozenset()

    # Names.

    def path(self, number: int) -> str:
        """Return the path of a partition's node."""
        return self.disk.partition_path(number)

    def name(self, number: int) -> str:
        """Return what a partition is called."""
        return os.path.basename(self.path(number))

    def number(self, name: str) -> int | None:
        """Return the number of the partition that is called so, or None where none can be."""
        digits = name.removeprefix(self.name(0)[:-1])
        is_number = digits.isascii() and digits.isdecimal() and len(digits) <= _MOST_DIGITS
        number = int(digits) if is_number else 0
        return number if number and name == self.name(number) else None

    def told(self, partition: Partition) -> str:
        """Return what messages call it."""
        return f"volume {self.name(partition.number)!r} of pool {self._pool!r}"

    # Looking.

    def state(self) -> PoolState:
        """Return INACCESSIBLE when the disk was taken away or replaced, and DEGRADED when it
        cannot be written to, or the kernel does not show a partition as the table has it.
        """
        if not self.disk.is_there:
            return PoolState.INACCESSIBLE
        numbers = [each.number for each in self.current.partitions]
        shown = self.disk.shown()
        whole = all(
            self.name(number) in shown and os.path.exists(self.path(number)) for number in numbers
        )
        if whole and self._is_shown and not self.disk.is_read_only:
            return PoolState.RUNNING
        return PoolState.DEGRADED

    def is_unfinished(self, partition: Partition) -> bool:
        """Say whether its content is still being written, or never was to its end."""
        has_code = partition.type == UNFINISHED[self.current.label]
        return has_code and partition.start not in self._foreign

    def _find_foreign(self) -> frozenset[int]:
        """Return where partitions begin that others have made, with our code for unfinished ones
        or with the mark overwritten: they are whole, or somebody else's to judge.
        """
        table = self.current
        if table.label != "dos":
            return frozenset()
        return frozenset(
            each.start
            for each in table.partitions
            if each.type == UNFINISHED[table.label]
            and not unfinished_mark.is_there(self.disk.path, each, table.sector)
        )

    def refresh(self) -> Operation[None]:
        """Read it anew, have the kernel show all partitions, and remove those that a crash has
        left unfinished.
        """
        # Not for writing: when that is closed, udev has the kernel take all partitions away, and
        # show them again.
        fd = yield from self._lock(os.O_RDONLY)
        try:
            self.current = finish(self._read(fd))
            self._foreign = self._find_foreign()
            if not self.disk.is_read_only:
                for left in reversed(self.current.partitions):
                    if self.is_unfinished(left):
                        self._remove_orphan(fd, left)
            self._is_shown = show_partitions(fd, self.disk, self.current)
        finally:
            os.close(fd)
        yield from settle()

    def _remove_orphan(self, fd: int, left: Partition) -> None:
        """Remove an unfinished partition, unless whoever makes it has it open."""
        if self._why_kept(left) is not None:
            return
        try:
            delete_partition(fd, left.number)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return
        log().warning(
            "removed what a crashed creation left",
            pool=self._pool,
            partition=self.name(left.number),
        )
        finish(sfdisk.remove(fd, left.number))
        self.current = finish(self._read(fd))

    def open(self, partition: Partition, flags: int) -> int:
        """Open a partition's node, which is that of the partition and no other.

        flags: with O_EXCL, `VolumeBusy` is raised while the kernel has it in use.
        """
        shown = self.disk.partition(partition.number)
        if shown is None or not is_shown(self.current, partition, shown):
            raise self._not_shown(partition)
        try:
            fd = os.open(self.path(partition.number), flags | os.O_CLOEXEC)
        except FileNotFoundError:
            raise self._not_shown(partition) from None
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise self._busy(partition) from None
        if os.fstat(fd).st_rdev != shown.device:
            os.close(fd)
            raise StorageFailed(f"{self.path(partition.number)} is another device's node")
        # Nobody can change it while it is open; until then, another one may have got its number.
        if self.disk.partition(partition.number) != shown:
            os.close(fd)
            raise self._not_shown(partition)
        return fd

    def _not_shown(self, partition: Partition) -> StorageFailed:
        self._require_disk()
        return StorageFailed(
            f"the kernel does not show {self.told(partition)} as the table of {self.disk.path} "
            "has it; refresh the pool"
        )

    # Changing.

    def add(
        self, plan: Callable[[PartitionTable], Partition], *, unfinished: bool
    ) -> Operation[tuple[Partition, int]]:
        """Add a partition, and return it and its descriptor, open for writing and claimed.

        Its first and last MiB are zeros.

        plan: says what to add to the table as it is.
        unfinished: whether it is marked so, until `finish_new`.
        """
        fd = yield from self._lock()
        try:
            before = self.current = finish(self._read(fd))
            show_partitions(fd, self.disk, before)
            new = plan(before)
            self._require_free(new, new.number)
            self._require_unclaimed_at(fd, new)
            # Before anybody can look at it: nothing of what was there shows through, not even
            # after a crash.
            edge = min(_EDGE, new.size)
            zero_out(fd, new.start, edge)
            zero_out(fd, new.end - edge, edge)
            if unfinished:
                unfinished_mark.put(fd, new, before.sector)
            os.fsync(fd)
            type_ = UNFINISHED[before.label] if unfinished else new.type
            finish(sfdisk.add(fd, before, new, type_))
            written = self._written(fd, before, new)
            try:
                self._show(fd, written)
                return written, self.open(written, os.O_RDWR | os.O_EXCL)
            except BaseException:
                with suppress(OSError):
                    delete_partition(fd, new.number)
                finish(sfdisk.remove(fd, new.number))
                self.current = before
                raise
        finally:
            os.close(fd)

    def _written(self, fd: int, before: PartitionTable, new: Partition) -> Partition:
        """Return the partition that was just written; raises when it is not what was asked for."""
        table = finish(self._read(fd))
        kept = len(table.partitions) == len(before.partitions) + 1
        more = [each for each in table.partitions if each not in before.partitions]
        for each in more:
            if kept and (each.number, each.start, each.size) == (new.number, new.start, new.size):
                self.current = table
                return each
        raise StorageFailed(
            f"sfdisk was to add {new} to the table of {self.disk.path}, and has made {more}; "
            "look at what is there"
        )

    def _show(self, fd: int, partition: Partition) -> None:
        size = shown_size(self.current, partition)
        add_partition(fd, partition.number, partition.start, size)

    def _require_free(self, new: Partition, number: int | None = None) -> None:
        """Raise `VolumeBusy` where the kernel shows a partition of an older table, which it did
        not let go of because somebody uses it.

        number: one that it must not have either.
        """
        for old in self.disk.partitions().values():
            overlaps = old.start < new.end and new.start < old.start + old.length
            if overlaps or old.number == number:
                raise VolumeBusy(
                    f"{self.told(new)} would be where {old.name} is, which is in use, though it "
                    f"is not in the table of {self.disk.path} any more; end that first"
                )

    def _require_unclaimed_at(self, fd: int, new: Partition) -> None:
        """Raise `VolumeBusy` where the disk as a whole is in use, by a file system that is not in
        a partition, say, though it has a table, too.

        new: where nothing is shown.
        """
        if not is_claimed_at(fd, self.disk, new):
            return
        at = ", ".join(each.point for each in mounts() if each.source == self.disk.path)
        used = f"mounted at {at}" if at else "in use"
        raise VolumeBusy(
            f"{self.told(new)} would be on {self.disk.path}, which is {used} as a whole; end "
            "that first, or use it without partitions"
        )

    def finish_new(self, new: Partition, type_: str) -> Operation[None]:
        """Have an unfinished partition counted as finished."""
        fd = yield from self._lock()
        try:
            self.current = finish(self._read(fd))
            there = self.current.find(new.number)
            if there is None or there.start != new.start:
                raise StorageFailed(f"{self.path(new.number)} was removed by somebody else")
            finish(sfdisk.set_type(fd, new.number, type_))
            self.current = finish(self._read(fd))
        finally:
            os.close(fd)

    def remove(self, partition: Partition, *, patience: float = _LOCK_PATIENCE) -> Operation[None]:
        """Remove a partition, which nobody may have open; one that is not there any more counts
        as removed.

        patience: seconds to wait for the disk's lock.
        """
        fd = yield from self._lock(patience=patience)
        try:
            self.current = finish(self._read(fd))
            there = self.current.find(partition.number)
            if there is None or there.start != partition.start:
                return
            self.require_removable(there)
            shown = self._hide(fd, there)
            try:
                finish(sfdisk.remove(fd, there.number))
            except BaseException:
                if shown:
                    self._show(fd, there)
                raise
            self.current = finish(self._read(fd))
        finally:
            os.close(fd)

    def require_removable(self, partition: Partition) -> None:
        """Raise what keeps a partition from being removed, in the table."""
        kept = self._why_kept(partition)
        if kept is not None:
            raise kept

    def _why_kept(self, partition: Partition) -> VolumeBusy | Unsupported | None:
        table, where = self.current, self.told(partition)
        if partition == table.extended and table.logical:
            names = ", ".join(self.name(each.number) for each in table.logical)
            return VolumeBusy(f"{where} holds the volumes {names}; delete those first")
        if table.is_logical(partition.number) and partition != table.logical[-1]:
            last = self.name(table.logical[-1].number)
            return Unsupported(
                f"{where} is not the last logical partition, and those behind it would get other "
                f"names; delete {last!r} first"
            )
        return None

    def _hide(self, fd: int, partition: Partition) -> bool:
        """Have the kernel show a partition no more, and return whether it did before."""
        deadline = monotonic() + _PATIENCE
        while True:
            try:
                delete_partition(fd, partition.number)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return False
                if error.errno != errno.EBUSY:
                    raise
                self.require_unclaimed(partition)
                if monotonic() > deadline:
                    raise self._busy(partition) from None
            else:
                return True
            sleep(_PAUSE)

    def require_unclaimed(self, partition: Partition) -> None:
        """Raise `VolumeBusy` while the kernel has a partition in use."""
        os.close(self.open(partition, os.O_RDONLY | os.O_EXCL))

    def resize(self, number: int, capacity: int) -> Operation[None]:
        """Have a partition end elsewhere; raises `NoSpace` where another one is in the way."""
        fd = yield from self._lock()
        try:
            table = self.current = finish(self._read(fd))
            partition = table.find(number)
            if partition is None:
                raise StorageFailed(f"{self.path(number)} was removed by somebody else")
            size = in_sectors(table, capacity)
            more = size - partition.size
            room = room_behind(table, partition)
            if more > room:
                raise NoSpace(
                    f"{self.told(partition)} can grow by {format_size(room)} where it is, and "
                    f"{format_size(more)} are asked for; copy it to a larger volume instead"
                )
            if more < 0:
                self.require_unclaimed(partition)
            elif more > 0:
                new = replace(partition, start=partition.end, size=more)
                self._require_free(new)
                self._require_unclaimed_at(fd, new)
                edge = min(more, _EDGE)
                zero_out(fd, partition.start + size - edge, edge)
                os.fsync(fd)
            finish(sfdisk.resize(fd, table, number, size))
            self.current = finish(self._read(fd))
            resize_partition(fd, number, partition.start, size)
        finally:
            os.close(fd)
        yield from settle()

    # What all of them need.

    def _lock(self, flags: int = os.O_RDWR, *, patience: float = _LOCK_PATIENCE) -> Operation[int]:
        """Open the disk, locked against others who change its table; udev and systemd, too, keep
        away from a disk that is locked so (systemd's BLOCK_DEVICE_LOCKING).

        Raises `PoolBusy` when somebody has had the lock for `patience` seconds.
        """
        try:
            fd = self.disk.open(flags)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self._require_disk()
            raise
        try:
            deadline = monotonic() + patience
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if monotonic() > deadline:
                        raise PoolBusy(
                            f"pool {self._pool!r}: somebody has had {self.disk.path} locked "
                            f"(flock) for {patience:g} seconds; look who it is with lslocks"
                        ) from None
                    yield Done()
                    sleep(_PAUSE)
                else:
                    return fd
        except BaseException:
            os.close(fd)
            raise

    def _require_disk(self) -> None:
        if not self.disk.is_there or not os.path.exists(self.disk.path):
            raise SourceUnusable(
                f"pool {self._pool!r}: {self.disk.path} was taken away; stop the pool, and start "
                "it again when the disk is back"
            )

    def _read(self, fd: int) -> Operation[PartitionTable]:
        """Read the table, which has to be of the kind that it was."""
        table = yield from sfdisk.read(fd)
        if table is None or table.label != self.current.label:
            found = "none" if table is None else f"a {table.label} table"
            raise SourceUnusable(
                f"pool {self._pool!r}: {self.disk.path} had a {self.current.label} table, and "
                f"has {found} by now; stop the pool, and look who has changed that"
            )
        return table

    def _busy(self, partition: Partition) -> VolumeBusy:
        path = self.path(partition.number)
        users = [f"mounted at {mount.point}" for mount in mounts() if mount.source == path]
        shown = self.disk.partition(partition.number)
        if shown is not None:
            users += [f"held by {holder}" for holder in self.disk.holders(shown)]
        told = ", ".join(users) or "some program, or swap, has it open"
        return VolumeBusy(f"{self.told(partition)} is in use: {told}; end that first")


def in_sectors(table: PartitionTable, size: int) -> int:
    """Return a size in bytes, rounded up to whole sectors."""
    return -(-size // table.sector) * table.sector
