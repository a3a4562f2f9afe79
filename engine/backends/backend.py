"""What a pool type offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

from volary.engine.pool_info import Space
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Operation
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec


class Backend(ABC):
    """A pool that is not active: what can be done with its definition alone.

    Its objects do not change, so that workers may share them. Its operations are generators, as
    `volary.engine.progress.Operation` says.
    """

    def __init__(self, spec: PoolSpec) -> None:
        self.spec = spec

    @abstractmethod
    def build(self) -> Operation[None]:
        """Make what the pool needs to be started: a directory, a file system, a volume group."""

    @abstractmethod
    def start(self) -> Operation[ActivePool]:
        """Open the pool, and return what can be done with it now."""

    @abstractmethod
    def delete(self) -> Operation[None]:
        """Undo `build`: remove what the pool is made of."""


class ActivePool(ABC):
    """A pool that is started: what can be done with its volumes.

    `space`, `is_quick`, `inspect` and `close` are called by the pool's actor itself: they answer
    from the kernel's memory, at once.
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

    @abstractmethod
    def stop(self) -> Operation[None]:
        """Undo `start`: unmount, deactivate, close; the volumes stay."""

    @abstractmethod
    def close(self) -> None:
        """Let go of descriptors because the engine ends; the pool stays as it is."""

    @abstractmethod
    def space(self) -> Space:
        """Return how much room there is."""

    @abstractmethod
    def scan(self) -> Operation[dict[str, VolumeInfo]]:
        """Find every volume, and clear away what a crashed creation left."""

    @abstractmethod
    def is_quick(self, spec: VolumeSpec) -> bool:
        """Say whether creating this takes a fraction of a millisecond and has no extents, so that
        nobody needs to watch or stop it.
        """

    @abstractmethod
    def inspect(self, name: str) -> VolumeInfo:
        """Return what one volume is now; raises `VolumeNotFound`."""

    @abstractmethod
    def create_volume(self, spec: VolumeSpec) -> Operation[VolumeInfo]:
        """Create a volume whole, or leave nothing."""

    @abstractmethod
    def delete_volume(self, name: str) -> Operation[None]:
        """Delete a volume; one that vanished meanwhile counts as deleted."""
