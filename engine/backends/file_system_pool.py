"""Pools of type "fs": a file system that is mounted, whose files are the volumes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from volary.engine.backends.backend import ActivePool
from volary.engine.backends.directory import DirectoryBackend
from volary.engine.backends.file_system_source import FileSystemSource
from volary.engine.backends.mounted_directory import MountedDirectory
from volary.engine.backends.shown_partitions import finish
from volary.engine.errors import (
    AccessDenied,
    InvalidSpec,
    SourceNotEmpty,
    SourceUnusable,
    TargetNotEmpty,
    TargetUnusable,
    ToolFailed,
    Unsupported,
    VolaryError,
)
from volary.engine.file_system import name_sync
from volary.engine.flags import PoolBuild, PoolDelete
from volary.engine.formats import lsblk, mkfs, mounting, signature
from volary.engine.log import log
from volary.engine.mounts import Mount, mount_of
from volary.engine.names import character_problem
from volary.engine.pool_source import PoolSource, SourceDevice
from volary.engine.pool_type import POOL_TYPES
from volary.engine.progress import Done, Operation

_OPTIONS: Final = ("nodev", "nosuid", "noexec")
"""What libvirt mounts with: nothing in a pool is for this host to run or to open as a device."""


class FileSystemBackend(DirectoryBackend):
    """A file system that is not in use, and the directory that it is mounted on."""

    type = "fs"

    @classmethod
    def find_sources(
        cls,
        wanted: PoolSource,  # noqa: ARG003 - this host is the only one
    ) -> Operation[tuple[PoolSource, ...]]:
        """Return the devices of this host that have a file system on them and are not in use.

        libvirt does not tell these.
        """
        # MOUNTPOINTS also tells of swap. One with children is theirs: partitions, RAID and so on.
        devices = yield from lsblk.read("PATH,MOUNTPOINTS")
        sources: dict[str, PoolSource] = {}
        for path in _unused(devices):
            found: tuple[signature.Signature, ...] = ()
            with suppress(ToolFailed):  # a drive without a disk in it
                found = yield from signature.read(path)
            formats = [kind for kind, usage in found if usage == "filesystem"]
            if len(found) == 1 and formats and formats[0] in _known_formats():
                sources[path] = PoolSource(devices=(SourceDevice(path),), format=formats[0])
        return tuple(sources.values())

    # Building.

    def build(self, flags: PoolBuild = PoolBuild.NONE) -> Operation[None]:
        """Make the target, and with one of the two flags the file system, too.

        Cancelled while the file system is being made, the device or image holds nothing known.
        """
        yield Done()
        self._check_flags(flags)
        if not flags:
            yield from super().build()
            return
        source = FileSystemSource.find(self.spec)
        # From here on, nobody can pause this until the file system is being made: something else
        # might be on the device by then.
        source.require_unused()
        if PoolBuild.NO_OVERWRITE in flags:
            found = finish(signature.read(source.path))
            if found:
                raise SourceNotEmpty(
                    f"{source.told} holds {signature.told(found)}; build the pool with "
                    "PoolBuild.OVERWRITE to lose it, or without a flag to keep it"
                )
        finish(super().build())
        yield from self._format(source)

    def _check_flags(self, flags: PoolBuild) -> None:
        self._check_formatting(flags, "a file system")
        format_ = self.spec.source.format
        if flags and format_ not in mkfs.FORMATS:
            raise Unsupported(
                f"pool {self.spec.name!r}: no file system of format {format_!r} can be "
                f"made; define the pool with one of {', '.join(mkfs.FORMATS)}"
            )

    def _format(self, source: FileSystemSource) -> Operation[None]:
        """Make the file system over whatever is there."""
        format_ = self.spec.source.format
        assert format_ is not None  # noqa: S101 - it is one of those that can be made
        try:
            yield from mkfs.make(source.path, format_)
            # Only now: had it refused, for lack of space say, what was there would be there still.
            yield from signature.wipe(source.path, but=format_)
            source.sync()
        except ToolFailed as error:
            raise SourceUnusable(f"{source.told} cannot be formatted: {error}") from error
        except GeneratorExit:
            # Cancelled: what is half made must not be taken for a file system.
            with suppress(VolaryError):
                for _ in signature.wipe(source.path):
                    pass
            log().warning(
                "a file system was not made to its end: what the device holds is undefined",
                pool=self.spec.name,
                device=source.path,
            )
            raise

    def delete(self, flags: PoolDelete = PoolDelete.NONE) -> Operation[None]:
        """Remove the target, which must be empty, with nothing mounted there; what is on the
        device stays.
        """
        yield Done()
        mount = None
        with suppress(TargetUnusable):  # it is missing, which the removal says
            mount = self._mounted()
        if mount is not None:
            raise TargetNotEmpty(
                f"pool {self.spec.name!r}: {mount.source} is mounted at {self.spec.target}; "
                "unmount it first, as stopping the pool does"
            )
        yield from super().delete(flags)

    # Mounting.

    def start(self) -> Operation[ActivePool]:
        """Mount the source at the target, or take over what is mounted so already."""
        yield Done()
        source = FileSystemSource.find(self.spec)
        ours = not self._is_mounted(source)
        if ours:
            try:
                yield from self._mount(source)
            except VolaryError:
                raise  # mount(8) has not mounted it: if it is by now, somebody else has
            except BaseException:
                self._undo_mount(source)
                raise
        try:
            return self._open(source, ours=ours)
        except BaseException:
            if ours:
                self._undo_mount(source)
            raise

    def _set_copy_on_write(self) -> None:
        """Choose it for the file system, not for the directory that it is mounted on."""
        if self._mounted() is not None:
            super()._set_copy_on_write()

    def _mounted(self) -> Mount | None:
        """Return what is mounted at the target."""
        fd = self._open_target()
        try:
            mount = mount_of(fd)
        finally:
            os.close(fd)
        is_there = mount is not None and mount.point == os.path.realpath(self.spec.target)
        return mount if is_there else None

    def _is_mounted(self, source: FileSystemSource) -> bool:
        """Say whether it is the source that is mounted at the target; raises `TargetUnusable`
        when it is something else.
        """
        mount = self._mounted()
        if mount is None:
            return False
        if not source.is_behind(mount):
            raise TargetUnusable(
                f"pool {self.spec.name!r}: {mount.source} ({mount.type}) is mounted at "
                f"{self.spec.target} already; unmount it, or define the pool with another target"
            )
        return True

    def _mount(self, source: FileSystemSource) -> Operation[None]:
        spec = self.spec
        options = (*_OPTIONS, *(("loop",) if source.is_image else ()), *spec.mount_options)
        for option in spec.mount_options:
            problem = character_problem(option)
            if problem is not None:
                raise InvalidSpec(f"pool {spec.name!r}: mount option {option!r} {problem}")
        format_ = spec.source.format or "auto"
        try:
            yield from mounting.mount(source.path, spec.target, format=format_, options=options)
        except ToolFailed as error:
            if os.geteuid() != 0:
                raise AccessDenied(
                    f"{source.told} cannot be mounted by the user with id {os.geteuid()}: {error}"
                ) from error
            found = yield from signature.read(source.path)
            if not found:
                raise SourceUnusable(
                    f"{source.told} holds no file system; build the pool with "
                    "PoolBuild.NO_OVERWRITE"
                ) from error
            raise SourceUnusable(
                f"{source.told} holds {signature.told(found)}, and was to be mounted as "
                f"{format_!r} with {','.join(options)}: {error}"
            ) from error

    def _open(self, source: FileSystemSource, *, ours: bool) -> MountedDirectory:
        """Return what is mounted at the target, to be used."""
        self._set_copy_on_write()
        fd = self._open_target()
        try:
            mount = self._of_source(fd, source)
            return MountedDirectory(self.spec, fd, name_sync(fd), mount, ours=ours)
        except BaseException:
            os.close(fd)
            raise

    def _of_source(self, fd: int, source: FileSystemSource) -> Mount:
        """Return the mount that the open target is on."""
        mount = mount_of(fd)
        if mount is None or not source.is_behind(mount):
            raise TargetUnusable(
                f"pool {self.spec.name!r}: somebody else has just changed what is mounted at "
                f"{self.spec.target}; look at what is there"
            )
        return mount

    def _undo_mount(self, source: FileSystemSource) -> None:
        """Unmount the source if it is mounted, without letting anybody wait or cancel."""
        try:
            if self._is_mounted(source):
                for _ in mounting.unmount(self.spec.target):
                    pass
        except VolaryError as error:
            log().warning("left mounted", pool=self.spec.name, at=self.spec.target, why=str(error))


def _known_formats() -> tuple[str, ...]:
    type_ = POOL_TYPES[FileSystemBackend.type]
    return (*type_.formats, *type_.added_formats)


def _unused(devices: list[dict[str, Any]]) -> Iterator[str]:
    """Return the paths of those of lsblk's devices that are neither mounted nor divided."""
    for device in devices:
        children = device.get("children", [])
        yield from _unused(children)
        if not children and not any(device["mountpoints"]):
            yield str(device["path"])
