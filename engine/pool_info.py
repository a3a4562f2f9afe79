"""What is known of a pool."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from volary.engine.pool_spec import PoolSpec


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

    All three are 0 while the pool is not active.
    """

    state: PoolState
    capacity: int
    allocation: int
    available: int


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """What a pool says of itself in one answer."""

    spec: PoolSpec
    active: bool
    persistent: bool
    autostart: bool
    volumes: int

    @property
    def uuid(self) -> UUID:
        """The pool's UUID, which every pool that an engine has was given."""
        assert self.spec.uuid is not None  # noqa: S101 - for the type checker
        return self.spec.uuid
