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
from volary.engine.actors.job import Job
from volary.engine.backends import OpenVolume
from volary.engine.errors import VolaryError
from volary.engine.flags import VolumeResize
from volary.engine.formats.raw_transfer import Sink, Source
from volary.engine.pool_info import PoolInfo, PoolStatus
from volary.engine.pool_spec import PoolSpec
from volary.engine.secret import Secret
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
    """Save the definition, of a pool that is new."""


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


@dataclass(frozen=True, slots=True)
class StartPool(PoolCommand):
    """Open the pool and find its volumes."""

    build: bool = False
    new: bool = False
    """The pool was made for this: when it cannot be started it is gone again."""


@dataclass(frozen=True, slots=True)
class StopPool(PoolCommand):
    """Let go of the pool."""


@dataclass(frozen=True, slots=True)
class DeletePool(PoolCommand):
    """Remove what the pool is made of."""


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
class Idle:
    """A worker for batches has waited in vain."""

    worker: ActorRef[Any]


@dataclass(frozen=True, slots=True)
class Retry:
    """To the engine's actor from itself: try again to start the pools that could not be."""


# To the engine, and from it.


@dataclass(frozen=True, slots=True)
class AddPool(Request[None]):
    """Make a pool that is new: define it, or (transient) start it. The answer comes when the job
    can be steered.
    """

    job: Job[Any]
    spec: PoolSpec
    ref: PoolRef
    persistent: bool
    build: bool = False


@dataclass(frozen=True, slots=True)
class FindPool(Request[PoolRef]):
    """Which pool has this name, UUID or target?"""

    name: str | None = None
    uuid: UUID | None = None
    target: str | None = None
    place: str | None = None
    """The target without links, as realpath(3) says."""


@dataclass(frozen=True, slots=True)
class ListPools(Request[tuple[PoolRef, ...]]):
    """Which pools are there?"""


@dataclass(frozen=True, slots=True)
class PoolGone(Request[None]):
    """From a pool: it is undefined, or a transient one that was stopped."""

    uuid: UUID


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
