"""The volumes of one pool, as its actor knows them, and what is done to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Event
from types import MappingProxyType
from typing import Any, ClassVar

from volary.engine.actors import messages as m
from volary.engine.actors.events import Events
from volary.engine.actors.inheritance import Inheritance
from volary.engine.actors.job import Job
from volary.engine.actors.lane import Lane
from volary.engine.actors.leased_volume import LeasedVolume, with_opened
from volary.engine.actors.leases import Leases
from volary.engine.actors.space_ledger import SpaceLedger
from volary.engine.actors.tasks import Task, Tasks
from volary.engine.backends import ActivePool, OpenVolume
from volary.engine.errors import (
    InvalidSpec,
    NoSpace,
    PoolBusy,
    VolaryError,
    VolumeBusy,
    VolumeExists,
    VolumeNotFound,
)
from volary.engine.event import PoolEventKind, VolumeEventKind
from volary.engine.flags import VolumeResize
from volary.engine.formats.raw_transfer import Sink, Source
from volary.engine.log import log
from volary.engine.pipe import Pipe
from volary.engine.progress import Done, Operation
from volary.engine.size import LARGEST, format_size
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec


@dataclass(slots=True)
class _Scan:
    """Names that came or went while the target was being listed: the listing may be wrong."""

    changed: set[str] = field(default_factory=set)


class Volumes:
    """The account of a pool's volumes; used by the pool's actor only.

    tasks: where operations are begun.
    events: where what has become of them is told.
    """

    def __init__(
        self, inheritance: Inheritance, tasks: Tasks, ledger: SpaceLedger, events: Events
    ) -> None:
        self._pool = inheritance.definition.current.name
        self._events = events
        self._tasks = tasks
        self._ledger = ledger
        self._infos: dict[str, VolumeInfo] = dict(inheritance.volumes)
        self._leases = Leases(self._pool, inheritance.readers)
        self._scans: dict[int, _Scan] = {}
        self._predecessors = self._undoing = inheritance.workers

    def __len__(self) -> int:
        return len(self._infos)

    # Questions.

    def infos(self) -> tuple[VolumeInfo, ...]:
        """Return what is known of every volume."""
        return tuple(self._infos.values())

    def readers(self) -> dict[str, tuple[Job[Any], ...]]:
        """Return the jobs that read volumes, those of other pools too, by volume's name."""
        return self._leases.all_readers()

    def snapshot(self) -> Mapping[str, VolumeInfo]:
        """Return the account, for whoever goes on with it when this one is no more.

        What a job was writing has a physical size of 0 there, so that it is looked at anew: an
        upload may have made it another volume, and it is not for its old size taken for what it
        was.
        """
        return MappingProxyType(
            {
                name: info if self._leases.writer(name) is None else replace(info, physical=0)
                for name, info in self._infos.items()
            }
        )

    def known(self, name: str) -> VolumeInfo:
        """Return what is known of a volume; raises `VolumeNotFound`."""
        info = self._infos.get(name)
        if info is None:
            maker = self._leases.writer(name)
            hint = f"; job {maker.id} is creating it" if maker is not None else ""
            raise VolumeNotFound(f"pool {self._pool!r} has no volume {name!r}{hint}")
        return info

    def inspect(self, active: ActivePool, name: str, format: str | None) -> VolumeInfo:  # noqa: A002 - libvirt's word
        """Return what a volume is on disk now; raises `VolumeNotFound`."""
        known = self.known(name)
        if format is not None and format != known.format:
            return active.inspect(name, format=format)
        if self._leases.writer(name) is not None:
            return known  # its header may be half written
        return self._look(active, name, known)

    def lease(self, active: ActivePool, message: m.LeaseVolume) -> VolumeInfo:
        """Let a job read a volume until it is over, and return what it is."""
        self._require_at_rest()
        known = self.known(message.name)
        self._leases.read(message.name, message.job)
        known = self._look(active, message.name, known)
        if message.format in (None, known.format):
            return known
        return active.inspect(message.name, format=message.format)

    def open(self, active: ActivePool, message: m.OpenLeased) -> OpenVolume:
        """Open a volume for the job that it is leased to."""
        if message.job not in self._leases.readers(message.name):
            raise VolumeBusy(
                f"volume {message.name!r} of pool {self._pool!r} is not leased to job "
                f"{message.job.id}"
            )
        known = self._look(active, message.name, self._infos.get(message.name))
        return active.open_volume(message.name, known, format=message.format)

    def _look(self, active: ActivePool, name: str, known: VolumeInfo | None) -> VolumeInfo:
        try:
            info = self._infos[name] = active.inspect(name, known)
        except VolumeNotFound:  # deleted by somebody else
            self._infos.pop(name, None)
            raise
        return info

    # All of them.

    def replace(self, infos: dict[str, VolumeInfo]) -> None:
        """Know these from now on."""
        self._infos = infos

    def scan(self, active: ActivePool, job: Job[Any]) -> None:
        """Find them anew."""
        scan = self._scans[job.id] = _Scan()
        predecessors, self._predecessors = self._predecessors, ()
        known = dict(self._infos)

        def done(found: dict[str, VolumeInfo]) -> None:
            del self._scans[job.id]
            # What is being written may be undone, and what was since is better known here.
            for name in (*scan.changed, *self._leases.written()):
                if name in self._infos:
                    found[name] = self._infos[name]
                else:
                    found.pop(name, None)
            self._infos = found
            self._events.of_pool(PoolEventKind.REFRESHED, active.spec)

        self._tasks.begin(
            Task(
                job,
                lambda: _scan_at_rest(active, known, predecessors),
                done=done,
                undone=lambda: self._scans.__delitem__(job.id),
            )
        )

    # One of them.

    def begin(self, active: ActivePool, command: m.VolumeCommand) -> None:
        """Begin the operation that the command asks for."""
        self._HANDLERS[type(command)](self, active, command)

    def _create(self, active: ActivePool, message: m.CreateVolume) -> None:
        create = partial(active.create_volume, message.spec)
        below = message.below
        self._make(
            active,
            message.job,
            message.spec,
            # Only a vmdk's header has something of its base's content in it.
            partial(with_opened, _openers(below), create)
            if below and message.spec.format == "vmdk"
            else create,
            needed=active.needed(message.spec),
            quick=active.is_quick(message.spec),
        )

    def _clone(self, active: ActivePool, message: m.CloneVolume) -> None:
        spec = message.spec
        clone = partial(active.clone_volume, spec, reflink=message.reflink, secret=message.secret)
        self._make(
            active,
            message.job,
            spec,
            partial(with_opened, _openers(message.source), clone),
            needed=active.needed_to_clone(
                spec, [volume.info for volume in message.source], reflink=message.reflink
            ),
        )

    def _make(
        self,
        active: ActivePool,
        job: Job[Any],
        spec: VolumeSpec,
        start: Callable[[], Operation[VolumeInfo]],
        *,
        needed: int,
        quick: bool = False,
    ) -> None:
        """Begin to make a volume that is new."""
        name = spec.name
        self._require_new(name)
        if needed:
            self._require_space(active, needed, f"volume {name!r}")

        def done(info: VolumeInfo) -> None:
            self._release(name)
            self._infos[name] = info
            self._events.of_volume(VolumeEventKind.CREATED, active.spec, name)

        self._leases.write(name, job)
        self._tasks.begin(
            Task(
                job,
                start,
                done=done,
                undone=partial(self._release, name),
                lane=self._tasks.quick if quick else self._tasks.allocators,
                needed=needed,
            )
        )

    def _require_new(self, name: str) -> None:
        maker = self._leases.writer(name)
        if name in self._infos:
            self._leases.require_unwritten(name)  # it may be gone soon: say who has it
            raise VolumeExists(
                f"pool {self._pool!r} has a volume {name!r} already; "
                "choose another name, or delete it first"
            )
        if maker is not None:
            raise VolumeExists(
                f"volume {name!r} of pool {self._pool!r} is being created by job "
                f"{maker.id}; choose another name, or cancel that job first"
            )

    def _delete(self, active: ActivePool, message: m.DeleteVolume) -> None:
        name = message.name
        self._change(
            active,
            message.job,
            name,
            partial(active.delete_volume, name, zeroed=message.zeroed),
            note=lambda _: self._infos.pop(name, None),
            kind=VolumeEventKind.DELETED,
            lane=self._tasks.allocators if message.zeroed else self._tasks.deletions,
        )

    def _resize(self, active: ActivePool, message: m.ResizeVolume) -> None:
        name, flags = message.name, message.flags
        self._leases.require_unheld(name)
        now = self.inspect(active, name, None)
        capacity = self._wanted_capacity(now, message.capacity, flags)
        allocate = bool(flags & VolumeResize.ALLOCATE)
        needed = max(0, capacity - now.capacity) if allocate else 0

        def start() -> Operation[VolumeInfo]:
            return (yield from with_opened(_openers(message.below(now)), resize))

        def resize(below: Sequence[OpenVolume]) -> Operation[VolumeInfo]:
            return active.resize_volume(
                name, now, capacity, allocate=allocate, below=below, secret=message.secret
            )

        if needed:
            self._require_space(active, needed, f"volume {name!r}")
        self._change(
            active,
            message.job,
            name,
            start,
            kind=VolumeEventKind.RESIZED,
            needed=needed,
        )

    def _wanted_capacity(self, now: VolumeInfo, size: int, flags: VolumeResize) -> int:
        """Return the capacity that is asked for, in bytes."""
        where = f"volume {now.name!r} of pool {self._pool!r}"
        shrink = bool(flags & VolumeResize.SHRINK)
        capacity = size
        if flags & VolumeResize.DELTA:
            capacity = now.capacity - size if shrink else now.capacity + size
        if capacity < now.capacity and not shrink:
            raise InvalidSpec(
                f"{where} has {format_size(now.capacity)}: to cut it off at "
                f"{format_size(capacity)} loses what is beyond; ask for it with the flag SHRINK"
            )
        if capacity <= 0:
            raise InvalidSpec(
                f"{where} has {format_size(now.capacity)}, and cannot shrink by as much or more"
            )
        if capacity > LARGEST:
            raise InvalidSpec(
                f"{where}: {capacity} bytes are above the largest file of Linux, {LARGEST}"
            )
        return capacity

    def _wipe(self, active: ActivePool, message: m.WipeVolume) -> None:
        self._change(
            active,
            message.job,
            message.name,
            partial(active.wipe_volume, message.name, message.algorithm),
        )

    def _upload(self, active: ActivePool, message: m.UploadVolume) -> None:
        self._leases.require_unheld(message.name)
        now = self.inspect(active, message.name, None)
        self._change(
            active,
            message.job,
            message.name,
            partial(
                active.upload_volume,
                message.name,
                now,
                message.source,
                offset=message.offset,
                length=message.length,
            ),
            lane=self._lane(message.source),
        )

    def _lane(self, other: Source | Sink) -> Lane:
        """Return where a transfer waits: files are as fast as we are, callers are not."""
        return self._tasks.streams if isinstance(other, Pipe) else self._tasks.transfers

    def _download(self, active: ActivePool, message: m.DownloadVolume) -> None:
        known = self.lease(active, m.LeaseVolume(message.job, message.name))

        def download(volumes: Sequence[OpenVolume]) -> Operation[int]:
            return active.download_volume(
                volumes[0],
                message.sink,
                offset=message.offset,
                length=message.length,
                sparse=message.sparse,
            )

        # The pool stays open as long as it has a task: its worker needs not ask for the volume.
        opener = partial(active.open_volume, message.name, known)
        start = partial(with_opened, (opener,), download)
        self._tasks.begin(Task(message.job, start, lane=self._lane(message.sink)))

    def _change(
        self,
        active: ActivePool,
        job: Job[Any],
        name: str,
        start: Callable[[], Operation[Any]],
        *,
        note: Callable[[Any], object] | None = None,
        kind: VolumeEventKind | None = None,
        lane: Lane | None = None,
        needed: int = 0,
    ) -> None:
        """Begin to write a volume that is there, or to delete it."""

        def done(result: Any) -> None:
            self._release(name)
            if note is not None:
                note(result)
            else:
                self._infos[name] = result
            if kind is not None:
                self._events.of_volume(kind, active.spec, name)

        def undone() -> None:
            self._release(name)
            # What cannot be undone, a wipe say, may have left another volume than there was.
            try:
                self._look(active, name, self._infos.get(name))
            except VolumeNotFound:
                pass
            except VolaryError as error:
                log().warning("a volume cannot be looked at", volume=name, why=str(error))

        self._require_at_rest()
        self._leases.require_unheld(name)  # who makes it is told before that it is not there
        self.known(name)
        self._leases.write(name, job)
        self._tasks.begin(
            Task(
                job,
                start,
                done=done,
                undone=undone,
                lane=lane or self._tasks.allocators,
                needed=needed,
            )
        )

    def _release(self, name: str) -> None:
        self._leases.release(name)
        for scan in self._scans.values():
            scan.changed.add(name)

    # What must be so.

    def reserve(self, active: ActivePool, message: m.Reserve) -> None:
        """Promise a job that runs so many bytes in all; raises `NoSpace`."""
        more = message.size - self._tasks.promised_to(message.job_id)
        if more > 0:
            self._require_space(active, more, f"job {message.job_id}")
        self._tasks.promise(message.job_id, message.size)

    def _require_at_rest(self) -> None:
        """The workers that a crash left may still be writing to any volume."""
        self._undoing = tuple(stopped for stopped in self._undoing if not stopped.is_set())
        if self._undoing:
            raise PoolBusy(
                f"pool {self._pool!r} was just started anew, and jobs from before are still being "
                "undone; try again"
            )

    def require_unread(self, wish: str) -> None:
        """Raise `PoolBusy` while a job, which may be another pool's, reads a volume."""
        reading = {job.id: job for jobs in self.readers().values() for job in jobs}
        if reading:
            jobs = ", ".join(
                f"{job.id} ({job.operation}, pool {job.pool!r})" for job in reading.values()
            )
            raise PoolBusy(
                f"pool {self._pool!r} has volumes that jobs read: {jobs}; cancel them or wait, "
                f"to {wish}"
            )

    def _require_space(self, active: ActivePool, needed: int, who: str) -> None:
        ledger, promised = self._ledger, self._tasks.promised
        space = active.space()
        if space.capacity == 0:
            return  # a file system that does not say how large it is, such as ramfs
        available = space.available
        # The promise is made before it is checked: see SpaceLedger.
        ledger.promise(active.device, active.uuid, promised + needed)
        others = ledger.promised(active.device) - needed
        if needed > available - others:
            ledger.promise(active.device, active.uuid, promised)
            told = f", of which {format_size(others)} are promised to jobs" if others else ""
            raise NoSpace(
                f"{who} needs {format_size(needed)}, but pool {self._pool!r} has "
                f"{format_size(available)} free{told}; delete something, or allocate less"
            )

    _HANDLERS: ClassVar[dict[type, Callable[[Volumes, ActivePool, Any], None]]] = {
        m.CreateVolume: _create,
        m.CloneVolume: _clone,
        m.DeleteVolume: _delete,
        m.ResizeVolume: _resize,
        m.WipeVolume: _wipe,
        m.UploadVolume: _upload,
        m.DownloadVolume: _download,
    }


def _openers(leased: Iterable[LeasedVolume]) -> list[Callable[[], OpenVolume]]:
    return [volume.open for volume in leased]


def _scan_at_rest(
    active: ActivePool, known: Mapping[str, VolumeInfo], predecessors: tuple[Event, ...]
) -> Operation[dict[str, VolumeInfo]]:
    """List the pool when the workers that a crash left have undone what they did."""
    for stopped in predecessors:
        while not stopped.wait(0.1):
            yield Done()
    return (yield from active.scan(known))
