"""A mounted file system in use, whose files are volumes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from volary.engine.backends.directory_state import directory_state
from volary.engine.backends.open_directory import OpenDirectory
from volary.engine.errors import PoolBusy, TargetUnusable, ToolFailed, VolaryError
from volary.engine.file_system import NameSync
from volary.engine.formats import mounting
from volary.engine.holders import told_holders
from volary.engine.log import log
from volary.engine.mounts import Mount, mount_of
from volary.engine.pool_info import PoolState
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Done, Operation
from volary.engine.volume_info import VolumeInfo


class MountedDirectory(OpenDirectory):
    """The root of a mounted file system. As every file is reached through its descriptor, nothing
    is ever written to the directory that it is mounted on.
    """

    def __init__(
        self, spec: PoolSpec, fd: int, sync: NameSync, mount: Mount, *, ours: bool
    ) -> None:
        """Use a mount; ours: whether it was made for this."""
        super().__init__(spec, fd, sync)
        self._ours = ours
        self._root = os.fstat(fd)
        options = ",".join(spec.mount_options).split(",")
        self._read_only = "ro" in options
        block = os.stat(mount.source).st_rdev
        disk = f"/sys/dev/block/{os.major(block)}:{os.minor(block)}"
        self._disk = disk if os.path.exists(disk) else None  # not where /sys is hidden

    def state(self) -> PoolState:
        """Return INACCESSIBLE when it was unmounted, or its device is gone; DEGRADED when it can
        only be read, unless that was asked for.
        """
        if self._disk is not None and not os.path.exists(self._disk):
            return PoolState.INACCESSIBLE
        state = directory_state(self._fd, self.spec.target)
        asked = self._read_only and state is PoolState.DEGRADED
        return PoolState.RUNNING if asked else state

    # The end.

    def stop(self) -> Operation[None]:
        """Unmount it, unless somebody has done so; it stays in use when somebody uses it."""
        yield Done()
        mount = mount_of(self._fd) if self._fd >= 0 else None
        if mount is not None:
            self._require_uppermost(mount)
            yield from self._unmount(mount.point)
        self.close()

    def close(self) -> None:
        """Close the directory, and leave it mounted for whoever starts the pool next."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _require_uppermost(self, mount: Mount) -> None:
        """Raise `PoolBusy` where umount(8) would unmount something else."""
        found = None
        with suppress(OSError):  # something is mounted over a directory above it
            fd = os.open(mount.point, os.O_PATH | os.O_CLOEXEC)
            try:
                found = mount_of(fd)
            finally:
                os.close(fd)
        if found != mount:
            what = "something" if found is None else f"{found.source} ({found.type})"
            raise PoolBusy(
                f"pool {self.spec.name!r}: {what} is mounted over {mount.point}; "
                "unmount that first"
            )

    def _unmount(self, point: str) -> Operation[None]:
        self.close()  # else it would be in use by us
        try:
            yield from mounting.unmount(point)
        except BaseException as error:
            self._reopen(point)
            if isinstance(error, ToolFailed):
                holders = told_holders(point) or "it cannot be told by whom"
                raise PoolBusy(
                    f"pool {self.spec.name!r} stays active: {str(error).rstrip('.')}; "
                    f"in use: {holders}"
                ) from error
            raise

    def _reopen(self, point: str) -> None:
        """Open the directory again, if it is mounted still."""
        with suppress(OSError):
            fd = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if os.path.samestat(os.fstat(fd), self._root):
                self._fd = fd
            else:
                os.close(fd)

    def undo_start(self) -> None:
        """Unmount what was mounted for this."""
        if not self._ours:
            self.close()
            return
        try:
            for _ in self.stop():
                pass
        except (VolaryError, OSError) as error:
            log().warning("left mounted", pool=self.spec.name, at=self.spec.target, why=str(error))
            self.close()

    # What would be done to a file system that nobody can see.

    def scan(self, known: Mapping[str, VolumeInfo]) -> Operation[dict[str, VolumeInfo]]:
        """Find every file and directory, unless it was taken away."""
        self._require_there()
        return (yield from super().scan(known))

    @contextmanager
    def _making(self, name: str, doing: str) -> Iterator[None]:
        self._require_there()
        with super()._making(name, doing):
            yield

    def _require_there(self) -> None:
        """Raise `TargetUnusable` unless the target leads to the mounted file system, by one system
        call: every one costs a sparse creation some per cent.
        """
        try:
            is_there = os.path.samestat(os.stat(self.spec.target), self._root)
        except OSError:
            is_there = False
        if not is_there:
            raise TargetUnusable(
                f"pool {self.spec.name!r}: what was mounted at {self.spec.target} was taken away; "
                "stop the pool and start it again"
            )
