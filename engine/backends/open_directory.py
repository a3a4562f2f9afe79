"""A directory in use, whose files are volumes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from volary.engine import loop_device
from volary.engine.backends import raw_mark, volume_file
from volary.engine.backends.backend import ActivePool
from volary.engine.backends.directory_state import directory_state
from volary.engine.backends.inode import LABEL, inode_of
from volary.engine.backends.new_directory import NewDirectory
from volary.engine.backends.new_file import (
    NewFile,
    has_name,
    is_hidden,
    is_removed,
    remove_orphan,
)
from volary.engine.backends.open_volume import OpenVolume
from volary.engine.errors import (
    InvalidSpec,
    TargetUnusable,
    Unsupported,
    VolumeBusy,
    VolumeExists,
    VolumeNotFound,
    from_os_error,
)
from volary.engine.file_system import NameSync, shares_blocks
from volary.engine.formats import qcow2, raw_wipe
from volary.engine.formats.raw_transfer import Source
from volary.engine.linux import set_no_copy_on_write, start_writing
from volary.engine.log import log
from volary.engine.mode import same_if_none
from volary.engine.names import name_problem
from volary.engine.pool_info import PoolState, Space
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Done, Operation, Sync, WriteOut
from volary.engine.secret import Secret
from volary.engine.volume_details import VolumeDetails
from volary.engine.volume_format import IMAGE_FORMATS
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec
from volary.engine.wipe_algorithm import WipeAlgorithm

_DEFAULT_VOLUME_MODE = 0o600  # libvirt's for a volume
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What says nothing of a file that could not be opened, but of this process and its host."""

_SELINUX = "/sys/fs/selinux/enforce"
"""It is there on a host that has SELinux on (libselinux's SELINUXMNT)."""

_SCAN_BATCH = 200  # names looked at between two yields: about 5 ms


class OpenDirectory(ActivePool):
    """A directory in use: every file is reached through the descriptor that was opened first."""

    def __init__(self, spec: PoolSpec, fd: int, sync: NameSync) -> None:
        super().__init__(spec)
        self._fd = fd
        self._name_sync = sync
        self._device = os.fstat(fd).st_dev
        self._shares_blocks = shares_blocks(fd)

    @property
    def device(self) -> int:
        """The directory's device."""
        return self._device

    def stop(self) -> Operation[None]:
        """Close the directory."""
        yield Done()
        self.close()

    def close(self) -> None:
        """Close the directory."""
        os.close(self._fd)

    def space(self) -> Space:
        """Return the file system's size, and what of it an ordinary user may still take."""
        with self._doing(f"asking for the space of pool {self.spec.name!r}"):
            answer = os.fstatvfs(self._fd)
        unit = answer.f_frsize
        return Space(answer.f_blocks * unit, answer.f_bavail * unit)

    def state(self) -> PoolState:
        """Return whether the target still leads to the directory, and takes changes."""
        return directory_state(self._fd, self.spec.target)

    def found(self) -> PoolSpec:
        """Return the definition with the permissions that the directory has, unless it is gone."""
        try:
            answer = os.fstat(self._fd)
        except OSError:
            return self.spec
        return replace(
            self.spec,
            mode=stat.S_IMODE(answer.st_mode),
            owner=answer.st_uid,
            group=answer.st_gid,
        )

    # Looking.

    def scan(self, known: Mapping[str, VolumeInfo]) -> Operation[dict[str, VolumeInfo]]:
        """Find every file and directory, and remove hidden ones whose maker is gone.

        Links are passed over, wherever they lead: nothing outside the target is a volume.
        """
        found: dict[str, VolumeInfo] = {}
        with self._doing(f"listing pool {self.spec.name!r}"):
            # A description of its own: scans that run at the same time would share an offset,
            # and btrfs lists no more than what was there when it was opened.
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
            try:
                with os.scandir(fd) as entries:
                    for count, entry in enumerate(entries):
                        if count % _SCAN_BATCH == 0:
                            yield Done()
                        if is_hidden(entry.name):
                            if remove_orphan(self._fd, entry.name):
                                log().warning(
                                    "removed what a crashed creation left", file=entry.name
                                )
                        elif is_removed(entry.name):
                            continue
                        elif (info := self._recognise(entry.name, known)) is not None:
                            found[info.name] = info
            finally:
                os.close(fd)
        return found

    def _recognise(self, name: str, known: Mapping[str, VolumeInfo]) -> VolumeInfo | None:
        problem = name_problem(name)
        if problem is not None:
            log().warning("passed over a file", pool=self.spec.name, name=ascii(name), why=problem)
            return None
        try:
            return self.inspect(name, known.get(name))
        except VolumeNotFound:  # deleted since it was listed, or neither file nor directory
            return None

    def inspect(
        self,
        name: str,
        known: VolumeInfo | None = None,
        *,
        format: str | None = None,  # noqa: A002 - libvirt's word
    ) -> VolumeInfo:
        """Return what the file says now; one that has not changed is not opened."""
        with self._doing(f"looking at {self._volume(name)}"):
            try:
                answer = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
            except FileNotFoundError:
                raise self._not_found(name) from None
            if format is None:
                info = volume_file.unchanged(name, answer, known)
                if info is not None:
                    return info
            if not stat.S_ISREG(answer.st_mode):
                raise self._not_found(name)
            try:
                fd = self._open(name, os.O_RDONLY)
            except OSError as error:
                if error.errno in _OURS:
                    raise
                return volume_file.unreadable(name, answer, error)
            try:
                return volume_file.describe(name, fd, format=format, known=known)
            finally:
                os.close(fd)

    def details(self, info: VolumeInfo) -> VolumeDetails:
        """Return the file's inode, too; it is not opened."""
        name = info.name
        with self._doing(f"looking at {self._volume(name)}"):
            try:
                inode = inode_of(name, dir_fd=self._fd, follow_symlinks=False)
            except FileNotFoundError:
                raise self._not_found(name) from None
        return replace(super().details(info), inode=inode)

    def open_volume(
        self,
        name: str,
        known: VolumeInfo,
        *,
        format: str | None = None,  # noqa: A002 - libvirt's word
    ) -> OpenVolume:
        """Open the file for reading."""
        with self._doing(f"opening {self._volume(name)}"):
            fd = self._open(name, os.O_RDONLY)
            try:
                info = known
                if format is not None and format != known.format:
                    info = volume_file.describe(name, fd, format=format)
            except BaseException:
                os.close(fd)
                raise
        return OpenVolume(fd, self._volume(name), info)

    def _open(self, name: str, flags: int) -> int:
        """Open a volume's file, which is no link and, when this returns, nothing but a file."""
        try:
            # O_NONBLOCK: to open a FIFO that took the name would wait for its other end.
            fd = os.open(
                name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd
            )
        except FileNotFoundError:
            raise self._not_found(name) from None
        except IsADirectoryError:  # to be written
            raise self._is_directory(name) from None
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link took the volume's name
                raise self._not_found(name) from None
            raise
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return fd
        os.close(fd)
        raise self._is_directory(name) if stat.S_ISDIR(mode) else self._not_found(name)

    # Making.

    def is_quick(self, spec: VolumeSpec) -> bool:
        """Say whether it is sparse, made without another process, and on a file system that is
        known to have such files.
        """
        return (
            spec.preallocation == "off"
            and spec.format in ("raw", "qcow2")
            and spec.encryption is None
            and self._name_sync is not NameSync.NEITHER
        )

    def needed(self, spec: VolumeSpec) -> int:
        """Return the allocation, of a qcow2 with its tables."""
        if spec.format == "qcow2" and spec.preallocation != "off":
            return qcow2.measure(spec)
        return spec.allocation

    def needed_to_clone(
        self, spec: VolumeSpec, source: Sequence[VolumeInfo], *, reflink: bool
    ) -> int:
        """Return what a raw source takes, unless its blocks are shared; a conversion finds out."""
        needed = self.needed(spec)
        if not spec.format == source[0].format == "raw":
            return needed
        if not needed and (reflink or self._shares_blocks):
            return 0
        return max(needed, min(source[0].allocation, volume_file.capacity_of(spec)))

    def create_volume(
        self, spec: VolumeSpec, below: Sequence[OpenVolume] = ()
    ) -> Operation[VolumeInfo]:
        """Create a file or a directory: unnamed or hidden until it is whole and synced."""
        doing = f"creating {self._volume(spec.name)}"
        if spec.format == "dir":
            return self._make_directory(spec, doing)
        return self._make(spec, doing, lambda fd: volume_file.fill(fd, spec, below))

    def clone_volume(
        self,
        spec: VolumeSpec,
        source: Sequence[OpenVolume],
        *,
        reflink: bool,
        secret: Secret | None,
    ) -> Operation[VolumeInfo]:
        """Create a file with the source's content: unnamed or hidden until it is whole."""
        return self._make(
            spec,
            f"cloning {source[0].path} to {self._volume(spec.name)}",
            lambda fd: volume_file.clone(fd, spec, source, reflink=reflink, secret=secret),
        )

    def _make(
        self, spec: VolumeSpec, doing: str, fill: Callable[[int], Operation[bool]]
    ) -> Operation[VolumeInfo]:
        """Make a file whole or not at all; `fill` says whether anything was written to it."""
        if spec.format not in IMAGE_FORMATS:
            raise InvalidSpec(
                f"{doing}: {spec.format!r} is what a partition can be for, and this is a file; "
                f"formats of files are {', '.join(IMAGE_FORMATS)}"
            )
        with self._making(spec.name, doing), NewFile(self._fd, mode=_DEFAULT_VOLUME_MODE) as file:
            if spec.nocow:
                set_no_copy_on_write(file.fd)
            written = yield from fill(file.fd)
            # Only now: qemu-img opens the file anew, which a mode such as 0400 forbids.
            _set_attributes(file.fd, spec)
            yield from self._publish(file, spec.name, written=written)
            if not written and spec.allocation == 0 and spec.format == "raw":
                # No block was asked for, so that none need be counted: every system call
                # that another thread's Python code waits for costs a sparse creation 5 %.
                capacity = volume_file.capacity_of(spec)
                return VolumeInfo(spec.name, capacity, 0, capacity)
            info = volume_file.describe_new(spec, file.fd)
            return info if spec.backing is None else replace(info, trusted=True)

    def _make_directory(self, spec: VolumeSpec, doing: str) -> Operation[VolumeInfo]:
        """Make a directory with its mode and owner, or nothing."""
        yield Done()
        with self._making(spec.name, doing), NewDirectory(self._fd, mode=0o700) as made:
            _set_attributes(made.fd, spec, mode=_DEFAULT_VOLUME_MODE)
            yield Sync(made.fd)
            made.publish(spec.name)
            try:
                yield Sync(self._fd)
                return self.inspect(spec.name)
            except BaseException:
                os.rmdir(spec.name, dir_fd=self._fd)
                raise

    @contextmanager
    def _making(self, name: str, doing: str) -> Iterator[None]:
        """Have what keeps a new volume from being made told as an error of ours."""
        try:
            yield
        except FileExistsError:
            raise VolumeExists(
                f"{self._volume(name)} exists: a file of that name is in {self.spec.target}; "
                "choose another name, or delete it first"
            ) from None
        except OSError as error:
            # A removed directory answers with ENOENT, or EPERM, by file system and call.
            if os.fstat(self._fd).st_nlink == 0:
                raise TargetUnusable(
                    f"{doing}: the target {self.spec.target} is gone; "
                    "stop the pool, build it and start it again"
                ) from None
            raise from_os_error(error, doing) from error

    def _publish(self, file: NewFile, name: str, *, written: bool) -> Operation[None]:
        """Give the file its name so that both outlive a crash when this returns.

        Content is on disk before the name, so that a crash between the two leaves no name whose
        content is lost: where a journal orders the rest, it is enough that the device has it, as
        the name's sync flushes that. An image that nothing was written to has only its size and
        its reserved extents to lose: they are the inode's, and on disk no later than its link.
        """
        if self._name_sync is NameSync.DIRECTORY:
            if written:
                start_writing(file.fd)
                yield WriteOut(file.fd)
        elif written or self._name_sync is NameSync.NEITHER:
            yield Sync(file.fd)
        file.publish(name)
        try:
            if self._name_sync is not NameSync.DIRECTORY:
                yield Sync(file.fd)
            if self._name_sync is not NameSync.FILE:
                yield Sync(self._fd)
        except BaseException:  # a sync failed, or the operation was closed before it
            os.unlink(name, dir_fd=self._fd)
            raise

    # Changing.

    def delete_volume(self, name: str, *, zeroed: bool = False) -> Operation[None]:
        """Remove the file or the empty directory, and sync the target; one that is gone already
        is deleted, too.
        """
        yield Done()
        with self._doing(f"deleting {self._volume(name)}"):
            try:
                answer = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
                if stat.S_ISDIR(answer.st_mode):
                    os.rmdir(name, dir_fd=self._fd)
                elif stat.S_ISREG(answer.st_mode):
                    self._require_detached(name, answer)
                    if zeroed:
                        yield from self._zero(name)
                    os.unlink(name, dir_fd=self._fd)
                else:
                    raise self._not_found(name)  # a link or a device took the volume's name
                os.fsync(self._fd)
            except FileNotFoundError:
                pass

    def _zero(self, name: str) -> Operation[None]:
        fd = self._open(name, os.O_RDWR)
        try:
            yield from raw_wipe.wipe(fd, os.fstat(fd).st_size, WipeAlgorithm.ZERO)
        finally:
            os.close(fd)

    def resize_volume(
        self,
        name: str,
        now: VolumeInfo,
        capacity: int,
        *,
        allocate: bool,
        below: Sequence[OpenVolume],
        secret: Secret | None,
    ) -> Operation[VolumeInfo]:
        """Have the file hold another capacity."""
        with self._changing(name, "resizing") as fd:
            if capacity < now.capacity:
                self._require_detached(name, os.fstat(fd))
            yield from volume_file.resize(
                fd, now, capacity, allocate=allocate, below=below, secret=secret
            )
            yield Sync(fd)
            known = "raw" if now.format == "raw" else None
            return volume_file.describe(name, fd, format=known, known=now)

    def wipe_volume(self, name: str, algorithm: WipeAlgorithm) -> Operation[VolumeInfo]:
        """Write over all that the file has on disk: of an image, over its header, too."""
        with self._changing(name, "wiping") as fd:
            self._require_detached(name, os.fstat(fd))
            size = os.fstat(fd).st_size
            yield from raw_wipe.wipe(fd, size, algorithm)
            raw_mark.mark(fd, size)  # whatever it was, its next guest finds a raw disk
            yield Sync(fd)
            return volume_file.describe(name, fd, format="raw")

    def upload_volume(
        self, name: str, now: VolumeInfo, source: Source, *, offset: int, length: int | None
    ) -> Operation[VolumeInfo]:
        """Write what comes into the file, which grows if it is no raw image."""
        with self._changing(name, "uploading to") as fd:
            self._require_detached(name, os.fstat(fd))
            known = yield from volume_file.upload(
                fd,
                now,
                source,
                offset=offset,
                length=length,
                doing=f"uploading to {self._volume(name)}",
            )
            yield Sync(fd)
            return volume_file.describe(name, fd, format=known)

    # What all of them need.

    @contextmanager
    def _changing(self, name: str, verb: str) -> Iterator[int]:
        """Open a volume's file for writing, as a context; it has to keep its name meanwhile."""
        with self._doing(f"{verb} {self._volume(name)}"):
            fd = self._open(name, os.O_RDWR)
            try:
                yield fd
                if not has_name(self._fd, name, fd):
                    raise VolumeNotFound(
                        f"{self._volume(name)} was removed or replaced by somebody else while it "
                        "was being written; look at what is there now"
                    )
            finally:
                os.close(fd)

    def _require_detached(self, name: str, file: os.stat_result) -> None:
        """Raise `VolumeBusy` where the file is the image of a disk that this host uses: what is
        mounted from it, by a pool of type "fs" say, would be destroyed.
        """
        users = loop_device.devices_on(file)
        if users:
            raise VolumeBusy(
                f"{self._volume(name)} is attached to {', '.join(users)}; stop the pool that it "
                "is the source of, or detach it, first"
            )

    def _is_directory(self, name: str) -> Unsupported:
        return Unsupported(
            f"{self._volume(name)} is a directory, which can be listed and deleted only"
        )

    def _not_found(self, name: str) -> VolumeNotFound:
        return VolumeNotFound(
            f"pool {self.spec.name!r} has no volume {name!r} in {self.spec.target}"
        )


def _set_attributes(fd: int, spec: VolumeSpec, *, mode: int | None = None) -> None:
    """Give a new file its owner, mode and label; `mode` is for what has none in the spec."""
    # The owner first: chown(2) clears the set-user-ID and set-group-ID bits.
    if spec.owner is not None or spec.group is not None:
        os.fchown(fd, same_if_none(spec.owner), same_if_none(spec.group))
    mode = mode if spec.mode is None else spec.mode
    if mode is not None:
        os.fchmod(fd, mode)
    if spec.label is not None and os.path.exists(_SELINUX):
        os.setxattr(fd, LABEL, spec.label.encode() + b"\0")
