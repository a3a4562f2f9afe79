"""A disk in use, whose partitions are volumes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from volary.engine.backends import unfinished_mark
from volary.engine.backends.backend import ActivePool
from volary.engine.backends.disk_table import DiskTable, in_sectors
from volary.engine.backends.free_extents import free_extents, smallest_fitting
from volary.engine.backends.inode import inode_of
from volary.engine.backends.open_volume import OpenVolume
from volary.engine.backends.shown_partitions import finish, settle
from volary.engine.backends.volume_file import capacity_of, open_image
from volary.engine.block_device import zero_out
from volary.engine.errors import (
    InvalidSpec,
    NoSpace,
    Unsupported,
    VolaryError,
    VolumeExists,
    VolumeNotFound,
)
from volary.engine.formats import qemu_convert, raw_transfer, raw_wipe
from volary.engine.formats.open_image import OpenImage
from volary.engine.formats.partition_type import TYPES, format_of
from volary.engine.formats.probe import Probe
from volary.engine.formats.raw_transfer import FileSource, Source
from volary.engine.formats.recognise import recognise
from volary.engine.formats.sfdisk import Partition, PartitionTable
from volary.engine.log import log
from volary.engine.mode import same_if_none
from volary.engine.pool_info import PoolState, Space
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Done, Operation, Sync
from volary.engine.secret import Secret
from volary.engine.size import format_size
from volary.engine.volume_details import VolumeDetails, VolumeExtent
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec
from volary.engine.wipe_algorithm import WipeAlgorithm

_ZEROS: Final = 16 << 20
"""Bytes zeroed between two yields: a fraction of a second on a slow disk."""

_EDGE: Final = 1 << 20
"""Bytes up to a multiple of which zeros are written by hand: devices zero whole sectors."""

_UNDO_PATIENCE = 1.0
"""Seconds to wait for the disk's lock to undo a creation."""

_EXTENDED_NODE = 1024
"""Bytes of an extended partition that can be read, as libvirt tells them."""


class OpenDisk(ActivePool):
    """A disk in use.

    Nothing of it is held open: whoever takes the disk away need not stop the pool first. It is
    looked up, and known again by its numbers, whenever it is needed.
    """

    def __init__(self, spec: PoolSpec, table: DiskTable) -> None:
        super().__init__(spec)
        self._table = table
        # What each volume was said to be for, where several formats share a type.
        self._formats: dict[str, str] = {}

    @property
    def device(self) -> int:
        """The disk's device number."""
        return self._table.disk.device

    def found(self) -> PoolSpec:
        """Return the definition with the kind of table that the disk has."""
        source = replace(self.spec.source, format=self._table.current.label)
        return replace(self.spec, source=source)

    def free_extents(self) -> tuple[VolumeExtent, ...]:
        """Return where on the disk there is room for a partition."""
        path = self._table.disk.path
        return tuple(
            VolumeExtent(path, each.start, each.end) for each in free_extents(self._table.current)
        )

    def state(self) -> PoolState:
        """Return what the kernel tells of the disk and its partitions."""
        return self._table.state()

    def stop(self) -> Operation[None]:
        """Leave everything as it is."""
        yield Done()

    def close(self) -> None:
        """Nothing is held open."""

    def space(self) -> Space:
        """Return the disk's size, and what of it partitions can have."""
        size = self._table.disk.size
        free = sum(each.size for each in free_extents(self._table.current))
        return Space(size, min(size, free))  # nothing, when the disk was taken away

    # Looking.

    def path(self, name: str) -> str:
        """Return where a volume is: below the target, where a link may have another name."""
        node = os.path.join(os.path.dirname(self._table.disk.path), name)
        target = self.spec.target
        if os.path.dirname(node) == target:
            return node
        with suppress(OSError), os.scandir(target) as entries:
            links = sorted(each.path for each in entries if os.path.realpath(each.path) == node)
            if links:
                return links[0]
        return node

    def scan(self, known: Mapping[str, VolumeInfo]) -> Operation[dict[str, VolumeInfo]]:
        """Read the table, have the kernel show all its partitions, and remove those that a crash
        left unfinished.
        """
        table = self._table
        with self._doing(f"listing pool {self.spec.name!r}"):
            yield from table.refresh()
        finished = [each for each in table.current.partitions if not table.is_unfinished(each)]
        names = [table.name(each.number) for each in finished]
        return {
            name: self._info(each, known.get(name))
            for name, each in zip(names, finished, strict=True)
        }

    def inspect(
        self,
        name: str,
        known: VolumeInfo | None = None,
        *,
        format: str | None = None,  # noqa: A002 - libvirt's word
    ) -> VolumeInfo:
        """Return what the table said last of the volume; its content is looked at only when
        somebody says what it is.
        """
        partition = self._find(name)
        info = self._info(partition, known)
        if format is None or format == info.format:
            return info
        with self._doing(f"looking at {self._volume(name)}"):
            fd = self._table.open(partition, os.O_RDONLY)
            try:
                return _read_as(fd, info, format)
            finally:
                os.close(fd)

    def open_volume(
        self,
        name: str,
        known: VolumeInfo,
        *,
        format: str | None = None,  # noqa: A002 - libvirt's word
    ) -> OpenVolume:
        """Open the partition for reading: as raw bytes, unless somebody says what they are."""
        with self._doing(f"opening {self._volume(name)}"):
            fd = self._table.open(self._find(name), os.O_RDONLY)
            try:
                return OpenVolume(fd, self._volume(name), _read_as(fd, known, format or "raw"))
            except BaseException:
                os.close(fd)
                raise

    def details(self, info: VolumeInfo) -> VolumeDetails:
        """Return what is known of the volume's node, and where on the disk it is."""
        partition = self._find(info.name)
        inode = None
        with self._doing(f"looking at {self._volume(info.name)}"), suppress(FileNotFoundError):
            inode = inode_of(self._table.path(partition.number))
        extent = VolumeExtent(self._table.disk.path, partition.start, partition.end)
        path = self.path(info.name)
        return VolumeDetails(info, f"{self.uuid}/{info.name}", path, inode, extents=(extent,))

    def _find(self, name: str) -> Partition:
        partition = self._table.current.find(self._table.number(name) or 0)
        if partition is None:
            raise VolumeNotFound(
                f"pool {self.spec.name!r} has no volume {name!r} on {self._table.disk.path}"
            )
        return partition

    def _info(self, partition: Partition, known: VolumeInfo | None) -> VolumeInfo:
        table, name = self._table.current, self._table.name(partition.number)
        before = self._formats.get(name) if known is None else known.format
        format_ = self._formats[name] = format_of(table.label, partition.type, before)
        allocation = physical = partition.size
        if partition == table.extended:
            allocation, physical = sum(each.size for each in table.logical), _EXTENDED_NODE
        modified = 0
        with suppress(OSError):  # it has no node
            modified = os.stat(self._table.path(partition.number)).st_mtime_ns
        return VolumeInfo(
            name,
            partition.size,
            allocation,
            physical,
            type="block",
            format=format_,
            modified=modified,
        )

    # Making.

    def is_quick(self, spec: VolumeSpec) -> bool:  # noqa: ARG002 - none is
        """Say that none is: sfdisk takes its time."""
        return False

    def needed(self, spec: VolumeSpec) -> int:
        """Return the capacity."""
        return capacity_of(spec)

    def needed_to_clone(
        self,
        spec: VolumeSpec,
        source: Sequence[VolumeInfo],  # noqa: ARG002 - a partition is no smaller for it
        *,
        reflink: bool,  # noqa: ARG002
    ) -> int:
        """Return the capacity."""
        return capacity_of(spec)

    def create_volume(
        self,
        spec: VolumeSpec,
        below: Sequence[OpenVolume] = (),  # noqa: ARG002 - a partition is no overlay
    ) -> Operation[VolumeInfo]:
        """Make a partition.

        Its first and last MiB are zeros; what lies between is what was on the disk there, unless
        the whole is to be preallocated.
        """
        fill = _write_zeros if spec.preallocation == "full" else None
        return self._make(spec, f"creating {self._volume(spec.name)}", fill)

    def clone_volume(
        self,
        spec: VolumeSpec,
        source: Sequence[OpenVolume],
        *,
        reflink: bool,
        secret: Secret | None,
    ) -> Operation[VolumeInfo]:
        """Make a partition, and copy what a guest sees of the source into it."""
        original = source[0]
        if reflink:
            raise Unsupported(
                f"{self._volume(spec.name)} is to be a partition, which shares no blocks; leave "
                "the flag REFLINK out"
            )
        if capacity_of(spec) < original.info.capacity:
            raise InvalidSpec(
                f"{original.path} has {original.info.capacity} bytes: a clone of "
                f"{capacity_of(spec)} bytes would cut it off; leave the capacity out"
            )

        def fill(fd: int, size: int) -> Operation[None]:
            return _copy(source, secret, fd, size)

        doing = f"cloning {original.path} to {self._volume(spec.name)}"
        return (yield from self._make(spec, doing, fill))

    def _make(
        self, spec: VolumeSpec, doing: str, fill: Callable[[int, int], Operation[None]] | None
    ) -> Operation[VolumeInfo]:
        """Make a partition whole or not at all.

        What takes long to fill is marked as unfinished meanwhile.
        """
        format_ = self._checked_format(spec)

        def plan(table: PartitionTable) -> Partition:
            return self._planned(table, spec, format_)

        with self._doing(doing):
            new, fd = yield from self._table.add(plan, unfinished=fill is not None)
            try:
                yield from self._complete(new, fd, spec, format_, fill)
            except BaseException:
                os.close(fd)
                self._undo(new)
                raise
            os.close(fd)
            yield from settle()
        return self._info(self._find(spec.name), VolumeInfo(spec.name, 0, 0, 0, format=format_))

    def _undo(self, new: Partition) -> None:
        """Remove an unfinished partition, if that can be done soon: nobody can cancel this."""
        try:
            finish(self._table.remove(new, patience=_UNDO_PATIENCE))
        except (VolaryError, OSError) as error:  # there are later logical ones, for example
            log().warning(
                "left for the next scan to remove",
                pool=self.spec.name,
                partition=self._table.name(new.number),
                why=str(error),
            )

    def _complete(
        self,
        new: Partition,
        fd: int,
        spec: VolumeSpec,
        format_: str,
        fill: Callable[[int, int], Operation[None]] | None,
    ) -> Operation[None]:
        if spec.owner is not None or spec.group is not None:
            os.chown(fd, same_if_none(spec.owner), same_if_none(spec.group))
        if spec.mode is not None:
            os.chmod(fd, spec.mode)
        if fill is not None:
            yield from fill(fd, new.size)
            unfinished_mark.clear(fd, new, self._table.current.sector)
            yield Sync(fd)
            yield from self._table.finish_new(new, TYPES[self._table.current.label][format_])

    def _checked_format(self, spec: VolumeSpec) -> str:
        """Return what the partition is to be for; raises what keeps it from being made."""
        where, table = self._volume(spec.name), self._table.current
        format_ = "none" if spec.format == "raw" else spec.format
        formats = TYPES[table.label]
        if format_ not in formats:
            raise Unsupported(
                f"{where} is to be a partition of a {table.label} table, which has no format "
                f"{spec.format!r}; use one of {', '.join(formats)}"
            )
        if spec.backing is not None or spec.encryption is not None:
            raise Unsupported(f"{where} is to be a partition: it is not encrypted nor an overlay")
        if not capacity_of(spec):
            raise InvalidSpec(f"{where} is to be a partition; give it a capacity above 0")
        if self._table.number(spec.name) is None:
            raise self._misnamed(spec.name, table)
        return format_

    def _planned(self, table: PartitionTable, spec: VolumeSpec, format_: str) -> Partition:
        """Return the partition that is to be made, or raise what keeps it from being made."""
        where, number = self._volume(spec.name), self._table.number(spec.name) or 0
        if not self._is_possible(table, number):
            raise self._misnamed(spec.name, table)
        if table.find(number) is not None:
            raise VolumeExists(
                f"{where} exists: the partition is in the table of {self._table.disk.path}; "
                "choose another name, or delete it first"
            )
        logical = table.is_logical(number)
        if format_ == "extended" and (logical or table.extended is not None):
            raise Unsupported(
                f"{where} cannot be extended: a dos table has one extended partition, among its "
                f"first {table.most}"
            )
        size = in_sectors(table, capacity_of(spec))
        extents = free_extents(table)
        extent = smallest_fitting(extents, size, logical=logical)
        if extent is None:
            largest = max((each.size for each in extents if each.logical is logical), default=0)
            inside = " in the extended partition" if logical else ""
            raise NoSpace(
                f"{where} needs {format_size(size)} in one piece, and the largest free extent of "
                f"{self._table.disk.path}{inside} has {format_size(largest)}; delete something "
                "beside it, or give a smaller capacity"
            )
        return Partition(number, extent.start, size, TYPES[table.label][format_])

    def _is_possible(self, table: PartitionTable, number: int) -> bool:
        """Say whether a partition can have that number."""
        if table.is_logical(number):
            # They are numbered as they come.
            return number <= (table.next_number(logical=True) or 0)
        # For another one than the next, sfdisk writes all of the table anew. It puts the table of
        # a logical partition into the sector before it, which is another one's where they adjoin.
        is_next = table.find(number) is not None or number == table.next_number()
        ends = {each.end for each in table.logical}
        adjoin = any(each.start in ends for each in table.logical)
        return 1 <= number <= table.most and (is_next or not adjoin)

    def _misnamed(self, name: str, table: PartitionTable) -> InvalidSpec | NoSpace:
        free = table.next_number() or table.next_number(logical=True)
        if free is None:
            return NoSpace(
                f"the {table.label} table of {self._table.disk.path} has as many partitions as "
                "it can have; delete one first"
            )
        return InvalidSpec(
            f"{self._volume(name)} is to be a partition, which the kernel names: the next one of "
            f"{self._table.disk.path} is called {self._table.name(free)!r}; name the volume so"
        )

    # Changing.

    def delete_volume(self, name: str, *, zeroed: bool = False) -> Operation[None]:
        """Take the partition out of the table, which nobody may have open."""
        yield Done()
        try:
            partition = self._find(name)
        except VolumeNotFound:
            return
        self._table.require_removable(partition)
        with self._doing(f"deleting {self._volume(name)}"):
            if zeroed and partition != self._table.current.extended:
                fd = self._table.open(partition, os.O_RDWR | os.O_EXCL)
                try:
                    yield from raw_wipe.wipe(fd, partition.size, WipeAlgorithm.ZERO)
                finally:
                    os.close(fd)
            yield from self._table.remove(partition)
            yield from settle()

    def resize_volume(
        self,
        name: str,
        now: VolumeInfo,
        capacity: int,
        *,
        allocate: bool,  # noqa: ARG002 - all of a partition is
        below: Sequence[OpenVolume],  # noqa: ARG002
        secret: Secret | None,  # noqa: ARG002
    ) -> Operation[VolumeInfo]:
        """Have the partition end elsewhere: it begins where it did, so that it grows only into
        what is free right behind it. The last MiB of what is new is zeros.
        """
        partition = self._find(name)
        self._require_content(partition)
        with self._doing(f"resizing {self._volume(name)}"):
            yield from self._table.resize(partition.number, capacity)
        return self._info(self._find(name), now)

    def wipe_volume(self, name: str, algorithm: WipeAlgorithm) -> Operation[VolumeInfo]:
        """Write over all of the partition."""
        with self._changing(name, "wiping") as fd:
            yield from raw_wipe.wipe(fd, self._find(name).size, algorithm)
            yield Sync(fd)
        return self._info(self._find(name), None)

    def upload_volume(
        self, name: str, now: VolumeInfo, source: Source, *, offset: int, length: int | None
    ) -> Operation[VolumeInfo]:
        """Write what comes into the partition."""
        doing = f"uploading to {self._volume(name)}"
        with self._changing(name, "uploading to") as fd:
            size = self._find(name).size
            yield from raw_transfer.upload(
                fd, source, offset=offset, length=length, capacity=size, doing=doing
            )
            yield Sync(fd)
        return self._info(self._find(name), now)

    @contextmanager
    def _changing(self, name: str, verb: str) -> Iterator[int]:
        """Open a partition for writing, as a context, which excludes that it is mounted."""
        partition = self._find(name)
        self._require_content(partition)
        with self._doing(f"{verb} {self._volume(name)}"):
            fd = self._table.open(partition, os.O_RDWR | os.O_EXCL)
            try:
                yield fd
            finally:
                os.close(fd)

    def _require_content(self, partition: Partition) -> None:
        if partition == self._table.current.extended:
            raise Unsupported(
                f"{self._table.told(partition)} is extended: it has no bytes of its own; use the "
                "volumes in it"
            )


def _read_as(fd: int, info: VolumeInfo, format_: str) -> VolumeInfo:
    """Return what a partition is when it is read as an image of that format."""
    if format_ == "raw":
        return replace(info, format="raw")
    image = recognise(Probe(fd, info.capacity, info.name), format=format_)
    return replace(info, format=image.format, capacity=image.capacity, image=image)


def _write_zeros(fd: int, size: int, start: int = 0) -> Operation[None]:
    """Have all of a partition from `start` on read as zeros."""
    for offset in range(start, size, _ZEROS):
        length = min(_ZEROS, size - offset)
        zero_out(fd, offset, length)
        yield Done(offset + length, size)


def _copy(
    source: Sequence[OpenVolume], secret: Secret | None, fd: int, size: int
) -> Operation[None]:
    """Copy what a guest sees of the source into a partition of `size` bytes; the rest is zeros."""
    original = source[0]
    if original.info.format == "raw":
        # A description of its own, since direct I/O is turned on and off on it.
        own = os.open(f"/proc/self/fd/{original.fd}", os.O_RDONLY | os.O_CLOEXEC)
        yield from raw_transfer.upload(
            fd, FileSource(own), offset=0, length=None, capacity=size, doing="cloning"
        )
    else:
        image = open_image(source, secret)
        target = OpenImage(fd, "raw", size, "the partition")
        yield from qemu_convert.convert(image, target, target_is_zero=False)
    end = original.info.capacity
    whole = min(size, -(-end // _EDGE) * _EDGE)
    os.pwrite(fd, bytes(whole - end), end)
    yield from _write_zeros(fd, size, whole)
