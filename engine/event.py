"""What a listener is told: that something has happened to a pool, a volume or a job."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TypeAlias
from uuid import UUID

from volary.engine.job_state import JobState
from volary.engine.progress import Progress


class PoolEventKind(IntEnum):
    """libvirt's `virStoragePoolEventLifecycleType`, and REFRESHED, which there is an event of
    another sort (VIR_STORAGE_POOL_EVENT_ID_REFRESH) and has no number beside these.

    DEFINED: it has a definition that is new, its first one or another.
    CREATED, DELETED: `build` and `delete` were called; a start that builds tells of the start
        alone, as libvirt's does.
    """

    DEFINED = 0
    UNDEFINED = 1
    STARTED = 2
    STOPPED = 3
    CREATED = 4
    DELETED = 5
    REFRESHED = 100


class VolumeEventKind(Enum):
    """What happened to a volume.

    CREATED: it is there now, new or cloned.
    """

    CREATED = "created"
    RESIZED = "resized"
    DELETED = "deleted"


class JobEventKind(Enum):
    """What happened to a job.

    STARTED: it was given a worker; a job that is refused, or cancelled while it waits, ends
        without it.
    ENDED: it succeeded, failed or was cancelled; each job ends once.
    """

    STARTED = "started"
    PROGRESSED = "progressed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """Something happened to a pool.

    time: when, in seconds since the epoch.
    """

    kind: PoolEventKind
    name: str
    uuid: UUID
    time: float


@dataclass(frozen=True, slots=True)
class VolumeEvent:
    """Something happened to a volume.

    pool, pool_uuid: the name and UUID of its pool.
    time: when, in seconds since the epoch.
    """

    kind: VolumeEventKind
    pool: str
    pool_uuid: UUID
    name: str
    time: float

    @property
    def key(self) -> str:
        """The volume's key, as `Volume.key`."""
        return f"{self.pool_uuid}/{self.name}"


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something happened to a job.

    job_id: its number, for `Connection.job`.
    operation, pool, volume: as of `Job`.
    state: the one that it is in since.
    progress: how far it has come; None when it starts.
    error: what it failed with, or None.
    time: when, in seconds since the epoch.
    """

    kind: JobEventKind
    job_id: int
    operation: str
    pool: str | None
    volume: str | None
    state: JobState
    progress: Progress | None
    error: BaseException | None
    time: float


Event: TypeAlias = PoolEvent | VolumeEvent | JobEvent
EventKind: TypeAlias = PoolEventKind | VolumeEventKind | JobEventKind
