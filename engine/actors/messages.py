"""Every message between the actors and those who call them.

A `Request[R]` is asked, and answered with an R; the others are told. A message with a `job`
asks for an operation, whose outcome the job carries: it is the message's way to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar
from uuid import UUID

from pykka import ActorRef

from volary.engine.actors.assignment import Assignment
from volary.engine.actors.events import Announcement
from volary.engine.actors.job import Job
from volary.engine.backends import OpenVolume
from volary.engine.errors import VolaryError
from volary.engine.flags import PoolBuild, PoolDelete, PoolStart, VolumeResize
from volary.engine.formats.raw_transfer import Sink, Source
from volary.engine.pool_conflict import Claim
from volary.engine.pool_definition import PoolDefinition
from volary.engine.pool_info import PoolDescription, PoolInfo, PoolStatus
from volary.engine.pool_source import PoolSource
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Operation
from volary.engine.secret import Secret
from volary.engine.volume_details import VolumeDetails
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec
from volary.engine.wipe_algorithm import WipeAlgorithm

if TYPE_CHECKING:
    from volary.engine.actors.inheritance import Inheritance
    from volary.engine.actors.leased_volume import LeasedVolume
    from volary.engine.actors.pool_ref import PoolRef
else:
    # Their modules import this one, and only a type checker needs them here.
    LeasedVolume = PoolRef = object

R_co = TypeVar("R_co", covariant=True)
Jobs: TypeAlias = tuple[Job[Any], ...]


class Request(Generic[R_co]):
    """A question with an answer of type R_co."""

    __slots__ = ()


# To a pool: questions that it answers at once.


@dataclass(frozen=True, slots=True)
class GetStatus(Request[PoolStatus]):
    """What is this pool?"""


@dataclass(frozen=True, slots=True)
class GetInfo(Request[PoolInfo]):
    """What space has it?"""


@dataclass(frozen=True, slots=True)
class DescribePool(Request[PoolDescription]):
    """What does its document tell?"""


@dataclass(frozen=True, slots=True)
class ListVolumes(Request[tuple[VolumeInfo, ...]]):
    """Which volumes has it?"""


@dataclass(frozen=True, slots=True)
class FindVolume(Request[VolumeInfo]):
    """Which volume has this name?"""

    name: str


@dataclass(frozen=True, slots=True)
class InspectVolume(Request[VolumeInfo]):
    """What is this volume on disk now, read as `format` if given?"""

    name: str
    format: str | None = None


@dataclass(frozen=True, slots=True)
class DescribeVolume(Request[VolumeDetails]):
    """What is all that is known of this volume now, read as `format` if given?"""

    name: str
    format: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseVolume(Request[VolumeInfo]):
    """Let the job read this volume, as `format` if given, and nobody write it until it is over;
    what is it now?
    """

    job: Job[Any]
    name: str
    format: str | None = None


@dataclass(frozen=True, slots=True)
class OpenLeased(Request[OpenVolume]):
    """Open this volume, which is leased to the job."""

    job: Job[Any]
    name: str
    format: str | None = None


@dataclass(frozen=True, slots=True)
class ListJobs(Request[Jobs]):
    """Which jobs has it, finished ones first?"""


# To a pool: operations.


@dataclass(frozen=True, slots=True)
class PoolCommand:
    """An operation on a pool or a volume."""

    job: Job[Any]


@dataclass(frozen=True, slots=True)
class DefinePool(PoolCommand):
    """Save a definition, which holds from the next start on."""

    spec: PoolSpec


@dataclass(frozen=True, slots=True)
class UndefinePool(PoolCommand):
    """Remove the definition."""


@dataclass(frozen=True, slots=True)
class SetAutostart(PoolCommand):
    """Start with the engine, or do not."""

    on: bool


@dataclass(frozen=True, slots=True)
class BuildPool(PoolCommand):
    """Make what the pool needs."""

    flags: PoolBuild


@dataclass(frozen=True, slots=True)
class StartPool(PoolCommand):
    """Open the pool and find its volumes."""

    flags: PoolStart = PoolStart.NONE
    spec: PoolSpec | None = None
    """What to start it from, rather than from what is stored."""


@dataclass(frozen=True, slots=True)
class StopPool(PoolCommand):
    """Let go of the pool."""


@dataclass(frozen=True, slots=True)
class DeletePool(PoolCommand):
    """Remove what the pool is made of."""

    flags: PoolDelete


@dataclass(frozen=True, slots=True)
class RefreshPool(PoolCommand):
    """Find the volumes anew."""


# To a pool: operations on a volume.


@dataclass(frozen=True, slots=True)
class VolumeCommand(PoolCommand):
    """An operation on a volume."""


@dataclass(frozen=True, slots=True)
class CreateVolume(VolumeCommand):
    """Create a volume."""

    spec: VolumeSpec
    below: tuple[LeasedVolume, ...] = ()
    """The volumes that it is to be backed by, which are leased to the job."""


@dataclass(frozen=True, slots=True)
class CloneVolume(VolumeCommand):
    """Create a volume with the content of another one, which is leased to the job."""

    spec: VolumeSpec
    source: tuple[LeasedVolume, ...]
    """The volume and those below it that it is backed by."""
    reflink: bool
    """Share its blocks or fail, rather than share them where that is possible."""
    secret: Secret | None
    """What opens the source if it is encrypted."""


@dataclass(frozen=True, slots=True)
class DeleteVolume(VolumeCommand):
    """Delete a volume."""

    name: str
    zeroed: bool = False
    """Write zeros over it first."""


@dataclass(frozen=True, slots=True)
class ResizeVolume(VolumeCommand):
    """Give a volume another capacity."""

    name: str
    capacity: int
    flags: VolumeResize
    below: Callable[[VolumeInfo], Iterable[LeasedVolume]]
    """Has the volumes that it is backed by leased to the job; called on a worker's thread."""
    secret: Secret | None
    """What opens it if it is encrypted."""


@dataclass(frozen=True, slots=True)
class WipeVolume(VolumeCommand):
    """Write over what a volume holds."""

    name: str
    algorithm: WipeAlgorithm


@dataclass(frozen=True, slots=True)
class UploadVolume(VolumeCommand):
    """Write into a volume what comes from a source."""

    name: str
    source: Source
    offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class DownloadVolume(VolumeCommand):
    """Read from a volume into a sink."""

    name: str
    sink: Sink
    offset: int
    length: int | None
    sparse: bool


# To the host's actor.


@dataclass(frozen=True, slots=True)
class FindSources:
    """Find what pools could be made of."""

    job: Job[Any]
    start: Callable[[], Operation[tuple[PoolSource, ...]]]


# To a pool about a job, and from it to the worker.


@dataclass(frozen=True, slots=True)
class Cancel:
    """Undo it and end."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Stand still."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Do at most so many bytes a second."""

    rate: int | None


Action: TypeAlias = Cancel | Pause | Resume | Limit


@dataclass(frozen=True, slots=True)
class SteerJob:
    """Do this to that job."""

    job_id: int
    action: Action


@dataclass(frozen=True, slots=True)
class Abort:
    """The pool has crashed: undo it, and fail with this."""

    error: VolaryError


@dataclass(frozen=True, slots=True)
class Batch:
    """To a worker for batches: do these."""

    assignments: tuple[Assignment, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """To a worker from itself: do the next extent."""


# From a worker to its pool.


@dataclass(frozen=True, slots=True)
class Advanced:
    """So many bytes of what was promised are taken now."""

    job_id: int
    taken: int


@dataclass(frozen=True, slots=True)
class Reserve(Request[None]):
    """Promise the job so many bytes in all, those included that it has taken."""

    job_id: int
    size: int


@dataclass(frozen=True, slots=True)
class Ended(Request[None]):
    """The operation is over: done with a result, or undone."""

    job_id: int
    succeeded: bool
    result: Any = None


@dataclass(frozen=True, slots=True)
class EndedTogether:
    """The operations of a batch are over, and its worker is free."""

    worker: ActorRef[Any]
    ended: tuple[Ended, ...]


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish this now that the end of what it tells of was noted."""

    announcement: Announcement


@dataclass(frozen=True, slots=True)
class Idle:
    """A worker for batches has waited in vain."""

    worker: ActorRef[Any]


@dataclass(frozen=True, slots=True)
class Retry:
    """To the engine's actor from itself: try again to start the pools that could not be."""


# To the engine, and from it.


@dataclass(frozen=True, slots=True)
class AddPool(Request[None]):
    """Define or start the pool that has this claim: a new one, or the one whose name and UUID it
    has. The answer comes when the job can be steered.
    """

    command: DefinePool | StartPool
    claim: Claim
    ref: PoolRef
    """The address of a new pool."""


@dataclass(frozen=True, slots=True)
class FindPool(Request[PoolRef]):
    """Which pool has this name or UUID?"""

    name: str | None = None
    uuid: UUID | None = None


@dataclass(frozen=True, slots=True)
class FindPoolsAt(Request[tuple[PoolRef, ...]]):
    """Which pools have this target, or one that leads there?"""

    target: str


@dataclass(frozen=True, slots=True)
class ListPools(Request[tuple[PoolRef, ...]]):
    """Which pools are there?"""


@dataclass(frozen=True, slots=True)
class PoolGone(Request[None]):
    """From a pool: it is undefined, or a transient one that was stopped."""

    uuid: UUID


@dataclass(frozen=True, slots=True)
class PoolChanged(Request[None]):
    """From a pool: this is its definition now, and these ones are no longer."""

    uuid: UUID
    definition: PoolDefinition
    dropped: tuple[PoolSpec, ...]


@dataclass(frozen=True, slots=True)
class PoolDied:
    """From a pool: it met an error of its own."""

    inheritance: Inheritance


@dataclass(frozen=True, slots=True)
class Close(Request[tuple[PoolRef, ...]]):
    """Take no more pools; which are there?"""


@dataclass(frozen=True, slots=True)
class ClosePool:
    """Cancel every job, let go of the pool, stop."""

    job: Job[Any]
