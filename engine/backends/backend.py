"""What a pool type offers."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar
from uuid import UUID

from volary.engine.backends.open_volume import OpenVolume
from volary.engine.errors import InvalidSpec, NoDiscovery, from_os_error
from volary.engine.flags import PoolBuild, PoolDelete
from volary.engine.formats import raw_transfer
from volary.engine.formats.raw_transfer import Sink, Source
from volary.engine.pool_info import PoolState, Space
from volary.engine.pool_source import PoolSource
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Done, Operation
from volary.engine.secret import Secret
from volary.engine.volume_details import VolumeDetails, VolumeExtent
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec
from volary.engine.wipe_algorithm import WipeAlgorithm


class Backend(ABC):
    """A pool that is not active: what can be done with its definition alone.

    Its objects do not change, so that workers may share them. Its operations are generators, as
    `volary.engine.progress.Operation` says.
    """

    type: ClassVar[str]
    """The pool type, as `POOL_TYPES` has it."""

    def __init__(self, spec: PoolSpec) -> None:
        self.spec = spec

    @classmethod
    def find_sources(
        cls,
        wanted: PoolSource,  # noqa: ARG003 - for those that can
    ) -> Operation[tuple[PoolSource, ...]]:
        """Return what pools of this type could be made of on this host, or on those of `wanted`.

        Raises `NoDiscovery` for a type whose sources nobody can list.
        """
        yield Done()
        raise NoDiscovery(
            f"the sources of {cls.type!r} pools cannot be found out; say what the pool is made of"
        )

    @abstractmethod
    def build(self, flags: PoolBuild = PoolBuild.NONE) -> Operation[None]:
        """Make what the pool needs to be started: a directory, a file system, a volume group.

        flags: with `PoolBuild.NO_OVERWRITE`, or with neither of the two, what the source holds
            stays: `SourceNotEmpty` says what that is. With `PoolBuild.OVERWRITE` it is lost.
            Raises `InvalidSpec` for a flag that means nothing here, as libvirt has it.
        """

    def _check_formatting(self, flags: PoolBuild, what: str) -> None:
        """Raise `InvalidSpec` for flags that `what`, which is formatted, is not built with."""
        where, formatting = (
            f"pool {self.spec.name!r}",
            PoolBuild.OVERWRITE | PoolBuild.NO_OVERWRITE,
        )
        if formatting in flags:
            raise InvalidSpec(f"{where}: OVERWRITE and NO_OVERWRITE exclude each other; give one")
        if flags & ~formatting:
            raise InvalidSpec(
                f"{where}: {what} is built with OVERWRITE, NO_OVERWRITE or neither, not with "
                f"PoolBuild.{flags.name}"
            )

    @abstractmethod
    def start(self) -> Operation[ActivePool]:
        """Open the pool, and return what can be done with it now."""

    @abstractmethod
    def delete(self, flags: PoolDelete = PoolDelete.NONE) -> Operation[None]:
        """Undo `build`: remove what the pool is made of.

        Raises `InvalidSpec` for a flag that means nothing here, as libvirt has it.
        """


class ActivePool(ABC):
    """A pool that is started: what can be done with its volumes.

    Operations are a worker's. What is none (`space`, `inspect`, `open_volume` and so on) is called
    by the pool's actor itself, and answers from the kernel's memory, at once: the header of a
    volume that has changed was just written, and is read from the page cache.
    """

    def __init__(self, spec: PoolSpec) -> None:
        self.spec = spec

    @property
    def uuid(self) -> UUID:
        """The pool's UUID."""
        assert self.spec.uuid is not None  # noqa: S101 - for the type checker
        return self.spec.uuid

    @property
    @abstractmethod
    def device(self) -> int:
        """The file system that the volumes take space from: its device number (stat(2))."""

    def state(self) -> PoolState:
        """Return RUNNING; DEGRADED when what is there can only be read, or not all of it is; or
        INACCESSIBLE when it was taken away, so that nothing of it can be reached.
        """
        return PoolState.RUNNING

    def found(self) -> PoolSpec:
        """Return the definition with what the pool was found to be, such as the permissions of
        its target: what libvirt's document of an active pool tells.
        """
        return self.spec

    @abstractmethod
    def stop(self) -> Operation[None]:
        """Undo `start`: unmount, deactivate, close; the volumes stay."""

    @abstractmethod
    def close(self) -> None:
        """Let go of descriptors because the engine ends; the pool stays as it is."""

    def undo_start(self) -> None:
        """Put back what `start` changed, because what was to follow it failed or was cancelled.

        Waits for that, and raises nothing.
        """
        self.close()

    @abstractmethod
    def space(self) -> Space:
        """Return how much room there is."""

    def free_extents(self) -> tuple[VolumeExtent, ...]:
        """Return where on its devices there is room for a volume, for pools that know."""
        return ()

    @abstractmethod
    def scan(self, known: Mapping[str, VolumeInfo]) -> Operation[dict[str, VolumeInfo]]:
        """Find every volume, and clear away what a crashed creation left.

        known: what is known from before. A volume that has not changed since need not be opened,
            and one that is known to be raw stays raw, whatever its guest wrote into it.
        """

    @abstractmethod
    def is_quick(self, spec: VolumeSpec) -> bool:
        """Say whether creating this takes a fraction of a millisecond and has no extents, so that
        nobody needs to watch or stop it.
        """

    @abstractmethod
    def needed(self, spec: VolumeSpec) -> int:
        """Return how many bytes creating this takes from the free space, at the most; 0 where
        that is too little to reckon with.
        """

    @abstractmethod
    def needed_to_clone(
        self, spec: VolumeSpec, source: Sequence[VolumeInfo], *, reflink: bool
    ) -> int:
        """Return how many bytes a clone takes from the free space, at the most, as far as that
        can be told at once; the operation itself may say that it is more.
        """

    @abstractmethod
    def inspect(
        self,
        name: str,
        known: VolumeInfo | None = None,
        *,
        format: str | None = None,  # noqa: A002 - libvirt's word
    ) -> VolumeInfo:
        """Return what one volume is now; raises `VolumeNotFound`.

        known: as in `scan`; None recognises it anew.
        format: what to read it as, whatever it looks like.
        """

    def path(self, name: str) -> str:
        """Return where a volume of that name is."""
        return os.path.join(self.spec.target, name)

    def details(self, info: VolumeInfo) -> VolumeDetails:
        """Return all that is known of a volume, of which `info` was just told; raises
        `VolumeNotFound`.
        """
        return VolumeDetails(info, f"{self.uuid}/{info.name}", self.path(info.name))

    @abstractmethod
    def open_volume(
        self,
        name: str,
        known: VolumeInfo,
        *,
        format: str | None = None,  # noqa: A002 - libvirt's word
    ) -> OpenVolume:
        """Open a volume for reading; raises `VolumeNotFound`. The arguments are `inspect`'s."""

    @abstractmethod
    def create_volume(
        self, spec: VolumeSpec, below: Sequence[OpenVolume] = ()
    ) -> Operation[VolumeInfo]:
        """Create a volume whole, or leave nothing.

        below: the volumes that it is to be backed by, as far as they are known.
        """

    @abstractmethod
    def clone_volume(
        self,
        spec: VolumeSpec,
        source: Sequence[OpenVolume],
        *,
        reflink: bool,
        secret: Secret | None,
    ) -> Operation[VolumeInfo]:
        """Create a volume with the content of another one, whole, or leave nothing.

        source: the volume, and those below it that it is backed by.
        reflink: share its blocks or fail, rather than share them where that is possible.
        secret: what opens the source if it is encrypted.
        """

    @abstractmethod
    def delete_volume(self, name: str, *, zeroed: bool = False) -> Operation[None]:
        """Delete a volume, `zeroed` first if asked; one that vanished meanwhile counts as
        deleted.
        """

    @abstractmethod
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
        """Give a volume another capacity, what is new allocated if asked; or leave it as it was.

        now: what it is.
        below: the volumes that it is backed by.
        secret: what opens it if it is encrypted.
        """

    @abstractmethod
    def wipe_volume(self, name: str, algorithm: WipeAlgorithm) -> Operation[VolumeInfo]:
        """Write over what a volume holds. Closed early, it has done so in part."""

    @abstractmethod
    def upload_volume(
        self, name: str, now: VolumeInfo, source: Source, *, offset: int, length: int | None
    ) -> Operation[VolumeInfo]:
        """Write what comes from `source` into a volume, and recognise it anew. Closed early, what
        has come is written.
        """

    def download_volume(
        self, volume: OpenVolume, sink: Sink, *, offset: int, length: int | None, sparse: bool
    ) -> Operation[int]:
        """Read a volume into `sink`; return how many bytes were read."""
        return raw_transfer.download(
            volume.fd,
            sink,
            offset=offset,
            length=length,
            sparse=sparse,
            doing=f"downloading {volume.path}",
        )

    # For those below, to tell what went wrong.

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """Have what the system refuses told as an error of ours."""
        try:
            yield
        except OSError as error:
            raise from_os_error(error, what) from error

    def _volume(self, name: str) -> str:
        """Return what messages call a volume."""
        return f"volume {name!r} of pool {self.spec.name!r}"
