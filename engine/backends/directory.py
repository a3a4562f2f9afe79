"""Pools of type "dir": a directory whose files are the volumes."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from volary.engine.backends.backend import ActivePool, Backend
from volary.engine.backends.new_file import NewFile, is_hidden, is_removed, remove_orphan
from volary.engine.errors import (
    TargetNotEmpty,
    TargetUnusable,
    VolumeExists,
    VolumeNotFound,
    from_os_error,
)
from volary.engine.file_system import NameSync, name_sync, sync_directory
from volary.engine.formats import raw
from volary.engine.log import log
from volary.engine.names import name_problem
from volary.engine.pool_info import Space
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Done, Operation, Sync
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec

_DEFAULT_MODE = 0o711  # libvirt's for a pool's directory
_DEFAULT_VOLUME_MODE = 0o600  # libvirt's for a volume
_SCAN_BATCH = 1000  # names looked at between two yields: about 5 ms


class DirectoryBackend(Backend):
    """A directory that is not in use."""

    def build(self) -> Operation[None]:
        """Make the target and the directories above it, with the pool's mode, owner and group."""
        yield Done()
        spec = self.spec
        doing = f"building pool {spec.name!r} at {spec.target}"
        made: list[str] = []
        try:
            self._make_directories(made, doing)
            # The owner first: chown(2) may clear bits of the mode.
            if spec.owner is not None or spec.group is not None:
                os.chown(spec.target, _or_same(spec.owner), _or_same(spec.group))
            if spec.target in made or spec.mode is not None:
                os.chmod(spec.target, _DEFAULT_MODE if spec.mode is None else spec.mode)
            for path in made:
                sync_directory(os.path.dirname(path))
        except (OSError, TargetUnusable) as error:
            for path in reversed(made):
                with suppress(OSError):  # what went wrong first is what is told
                    os.rmdir(path)
            if isinstance(error, OSError):
                raise from_os_error(error, doing) from error
            raise

    def _make_directories(self, made: list[str], doing: str) -> None:
        """Make those that are missing, from the top, and note each one in `made`."""
        target = self.spec.target
        for path in _missing(target):
            with suppress(FileExistsError):  # somebody made it meanwhile
                os.mkdir(path, 0o700 if path == target else 0o777)
                made.append(path)
        if not os.path.isdir(target):
            raise TargetUnusable(
                f"{doing}: it exists and is no directory; remove it or choose another"
            )

    def start(self) -> Operation[ActivePool]:
        """Open the target."""
        yield Done()
        spec = self.spec
        where = f"pool {spec.name!r}: target {spec.target}"
        try:
            fd = os.open(spec.target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise TargetUnusable(f"{where} is missing; build the pool first") from None
        except NotADirectoryError:
            raise TargetUnusable(
                f"{where} is no directory; define the pool with another target"
            ) from None
        except OSError as error:
            raise from_os_error(error, f"opening {where}") from error
        try:
            return OpenDirectory(spec, fd, name_sync(fd))
        except BaseException:
            os.close(fd)
            raise

    def delete(self) -> Operation[None]:
        """Remove the target, which must be empty."""
        yield Done()
        spec = self.spec
        try:
            os.rmdir(spec.target)
            sync_directory(os.path.dirname(spec.target))
        except FileNotFoundError:
            raise TargetUnusable(
                f"pool {spec.name!r}: target {spec.target} is missing already"
            ) from None
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise TargetNotEmpty(
                    f"pool {spec.name!r}: target {spec.target} is not empty; delete the volumes "
                    "and what else is in it first"
                ) from None
            raise from_os_error(error, f"deleting pool {spec.name!r} at {spec.target}") from error


class OpenDirectory(ActivePool):
    """A directory in use: every file is reached through the descriptor that was opened first."""

    def __init__(self, spec: PoolSpec, fd: int, sync: NameSync) -> None:
        super().__init__(spec)
        self._fd = fd
        self._name_sync = sync
        self._device = os.fstat(fd).st_dev

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
        try:
            answer = os.fstatvfs(self._fd)
        except OSError as error:
            raise from_os_error(
                error, f"asking for the space of pool {self.spec.name!r}"
            ) from error
        unit = answer.f_frsize
        return Space(answer.f_blocks * unit, answer.f_bavail * unit)

    def scan(self) -> Operation[dict[str, VolumeInfo]]:
        """Find every regular file, and remove hidden ones whose maker is gone.

        Links are passed over, wherever they lead: nothing outside the target is a volume.
        """
        found: dict[str, VolumeInfo] = {}
        try:
            # A description of its own: scans that run at the same time would share an offset,
            # and btrfs lists no more than what was there when it was opened.
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
        except OSError as error:
            raise from_os_error(error, f"listing pool {self.spec.name!r}") from error
        try:
            with os.scandir(fd) as entries:
                for count, entry in enumerate(entries):
                    if count % _SCAN_BATCH == 0:
                        yield Done()
                    if is_hidden(entry.name):
                        if remove_orphan(self._fd, entry.name):
                            log().warning("removed what a crashed creation left", file=entry.name)
                    elif is_removed(entry.name):
                        continue
                    elif (info := self._recognise(entry.name)) is not None:
                        found[info.name] = info
        except OSError as error:
            raise from_os_error(error, f"listing pool {self.spec.name!r}") from error
        finally:
            os.close(fd)
        return found

    def _recognise(self, name: str) -> VolumeInfo | None:
        problem = name_problem(name)
        if problem is not None:
            log().warning("passed over a file", pool=self.spec.name, name=ascii(name), why=problem)
            return None
        try:
            return self.inspect(name)
        except VolumeNotFound:  # deleted since it was listed, or no regular file
            return None

    def inspect(self, name: str) -> VolumeInfo:
        """Return what the file says now."""
        try:
            answer = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            raise self._not_found(name) from None
        except OSError as error:
            raise from_os_error(error, f"looking at {self._volume(name)}") from error
        if not stat.S_ISREG(answer.st_mode):
            raise self._not_found(name)
        return _info(name, answer)

    def create_volume(self, spec: VolumeSpec) -> Operation[VolumeInfo]:
        """Create a raw file: unnamed or hidden until it is whole and synced."""
        try:
            with NewFile(self._fd, mode=_DEFAULT_VOLUME_MODE) as file:
                # The owner first: chown(2) clears the set-user-ID and set-group-ID bits.
                if spec.owner is not None or spec.group is not None:
                    os.fchown(file.fd, _or_same(spec.owner), _or_same(spec.group))
                if spec.mode is not None:
                    os.fchmod(file.fd, spec.mode)
                written = yield from raw.create(
                    file.fd,
                    capacity=spec.capacity,
                    allocation=spec.allocation,
                    preallocation=spec.preallocation,
                )
                yield from self._publish(file, spec.name, written=written)
                if self.is_quick(spec):
                    # No block was asked for, so that none need be counted: every system call
                    # that another thread's Python code waits for costs a sparse creation 5 %.
                    return VolumeInfo(spec.name, spec.capacity, 0, spec.capacity)
                return _info(spec.name, os.fstat(file.fd))
        except FileExistsError:
            raise VolumeExists(
                f"{self._volume(spec.name)} exists: a file of that name is in {self.spec.target}; "
                "choose another name, or delete it first"
            ) from None
        except OSError as error:
            # A removed directory answers with ENOENT, or EPERM, by file system and call.
            if os.fstat(self._fd).st_nlink == 0:
                raise TargetUnusable(
                    f"creating {self._volume(spec.name)}: the target {self.spec.target} is gone; "
                    "stop the pool, build it and start it again"
                ) from None
            raise from_os_error(error, f"creating {self._volume(spec.name)}") from error

    def is_quick(self, spec: VolumeSpec) -> bool:
        """Say whether it is a sparse volume on a file system that is known to have such."""
        return spec.allocation == 0 and self._name_sync is not NameSync.NEITHER

    def _publish(self, file: NewFile, name: str, *, written: bool) -> Operation[None]:
        """Give the file its name so that both outlive a crash when this returns.

        Content is synced before the name is given, so that a crash between the two leaves no
        name whose content is lost. An image that nothing was written to has only its size and
        its reserved extents to lose: they are the inode's, and on disk no later than its link.
        """
        if written or self._name_sync is NameSync.NEITHER:
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

    def delete_volume(self, name: str) -> Operation[None]:
        """Remove the file, and sync the directory; one that is gone already is deleted, too."""
        yield Done()
        try:
            if not stat.S_ISREG(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode):
                raise self._not_found(name)  # a directory or a link took the volume's name
            os.unlink(name, dir_fd=self._fd)
            os.fsync(self._fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise from_os_error(error, f"deleting {self._volume(name)}") from error

    def _volume(self, name: str) -> str:
        return f"volume {name!r} of pool {self.spec.name!r}"

    def _not_found(self, name: str) -> VolumeNotFound:
        return VolumeNotFound(
            f"pool {self.spec.name!r} has no volume {name!r} in {self.spec.target}"
        )


def _info(name: str, answer: os.stat_result) -> VolumeInfo:
    return VolumeInfo(
        name,
        capacity=answer.st_size,
        allocation=answer.st_blocks * 512,  # stat(2): always units of 512 bytes
        physical=answer.st_size,
    )


def _or_same(number: int | None) -> int:
    return -1 if number is None else number  # chown(2): -1 leaves the id as it is


def _missing(path: str) -> list[str]:
    """Return the path and those above it that are not there, the uppermost first."""
    missing: list[str] = []
    while not os.path.lexists(path):
        missing.insert(0, path)
        path = os.path.dirname(path)
    return missing
