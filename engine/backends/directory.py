"""Pools of type "dir": a directory whose files are the volumes."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from volary.engine.backends.backend import ActivePool, Backend
from volary.engine.backends.open_directory import OpenDirectory
from volary.engine.errors import (
    InvalidSpec,
    NothingToFormat,
    StorageFailed,
    TargetNotEmpty,
    TargetUnusable,
    VolaryError,
    from_os_error,
)
from volary.engine.file_system import file_system_type, name_sync, sync_directory
from volary.engine.flags import PoolBuild, PoolDelete
from volary.engine.linux import set_no_copy_on_write
from volary.engine.mode import same_if_none
from volary.engine.progress import Done, Operation

_DEFAULT_MODE = 0o711  # libvirt's for a pool's directory


class DirectoryBackend(Backend):
    """A directory that is not in use."""

    type = "dir"

    def build(self, flags: PoolBuild = PoolBuild.NONE) -> Operation[None]:
        """Make the target and the directories above it, with the pool's mode, owner and group."""
        yield Done()
        formatting = PoolBuild.OVERWRITE | PoolBuild.NO_OVERWRITE
        if flags & ~formatting:
            raise InvalidSpec(
                f"pool {self.spec.name!r}: a directory is built without PoolBuild.{flags.name}"
            )
        if flags:
            raise NothingToFormat(
                f"pool {self.spec.name!r}: a directory is built without "
                f"PoolBuild.{flags.name}: nothing that is in it is ever written over"
            )
        spec = self.spec
        doing = f"building pool {spec.name!r} at {spec.target}"
        made: list[str] = []
        try:
            self._make_directories(made, doing)
            # The owner first: chown(2) may clear bits of the mode.
            if spec.owner is not None or spec.group is not None:
                os.chown(spec.target, same_if_none(spec.owner), same_if_none(spec.group))
            if spec.target in made or spec.mode is not None:
                os.chmod(spec.target, _DEFAULT_MODE if spec.mode is None else spec.mode)
            self._set_copy_on_write()
            for path in made:
                sync_directory(os.path.dirname(path))
        except (OSError, VolaryError) as error:
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

    def _set_copy_on_write(self) -> None:
        """Have files that will be made in the target copied on write or not, if the pool says."""
        if self.spec.cow is None:
            return
        fd = self._open_target()
        try:
            is_btrfs = file_system_type(fd) == "btrfs"
            if not (is_btrfs and set_no_copy_on_write(fd, on=not self.spec.cow)):
                raise StorageFailed(
                    f"pool {self.spec.name!r}: whether files are copied on write can be chosen on "
                    f"btrfs only, and {self.spec.target} is not on one; leave <cow> out"
                )
        finally:
            os.close(fd)

    def start(self) -> Operation[ActivePool]:
        """Open the target."""
        yield Done()
        fd = self._open_target()
        try:
            return OpenDirectory(self.spec, fd, name_sync(fd))
        except BaseException:
            os.close(fd)
            raise

    def _open_target(self) -> int:
        """Return a descriptor of the target."""
        where = f"pool {self.spec.name!r}: target {self.spec.target}"
        try:
            return os.open(self.spec.target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise TargetUnusable(f"{where} is missing; build the pool first") from None
        except NotADirectoryError:
            raise TargetUnusable(
                f"{where} is no directory; define the pool with another target"
            ) from None
        except OSError as error:
            raise from_os_error(error, f"opening {where}") from error

    def delete(self, flags: PoolDelete = PoolDelete.NONE) -> Operation[None]:
        """Remove the target, which must be empty."""
        yield Done()
        spec = self.spec
        if flags:
            raise InvalidSpec(
                f"pool {spec.name!r}: no directory is deleted with PoolDelete.{flags.name}: "
                "it must be empty"
            )
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


def _missing(path: str) -> list[str]:
    """Return the path and those above it that are not there, the uppermost first."""
    missing: list[str] = []
    while not os.path.lexists(path):
        missing.insert(0, path)
        path = os.path.dirname(path)
    return missing
