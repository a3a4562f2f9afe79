"""What is known of a pool."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from volary.engine.pool_definition import PoolDefinition
from volary.engine.pool_spec import PoolSpec
from volary.engine.volume_details import VolumeExtent


class PoolState(IntEnum):
    """libvirt's `virStoragePoolState`.

    DEGRADED: what is there can only be read, or not all of it is there.
    INACCESSIBLE: what the pool is made of was taken away while it was active.
    """

    INACTIVE = 0
    BUILDING = 1
    RUNNING = 2
    DEGRADED = 3
    INACCESSIBLE = 4


class Space(NamedTuple):
    """Bytes of the file system below a pool: all, and those that its user may still take."""

    capacity: int
    available: int


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """State and space of a pool; sizes in bytes.

    capacity: the size of the file system below it.
    allocation: what is taken of that, by whomever.
    available: what is free, less what running and waiting jobs were promised.

    All three are 0 while the pool is not active, and when it is so inaccessible that nobody can
    say.
    """

    state: PoolState
    capacity: int = 0
    allocation: int = 0
    available: int = 0


class PoolDescription(NamedTuple):
    """What a pool's document tells: what it is, with what it was found to be, and its space.

    free_extents: where on its devices there is room for a volume, of a pool that knows.
    """

    spec: PoolSpec
    info: PoolInfo
    free_extents: tuple[VolumeExtent, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """What a pool says of itself in one answer."""

    definition: PoolDefinition
    active: bool
    volumes: int

    @property
    def spec(self) -> PoolSpec:
        """What it is now."""
        return self.definition.current

    @property
    def uuid(self) -> UUID:
        """The pool's UUID, which every pool that an engine has was given."""
        assert self.spec.uuid is not None  # noqa: S101 - for the type checker
        return self.spec.uuid
