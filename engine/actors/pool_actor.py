"""A pool's actor: the only owner of its pool's state and of its volumes' state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from threading import Event
from typing import Any, ClassVar

import pykka

from volary.engine.actors import messages as m
from volary.engine.actors.actor import Actor
from volary.engine.actors.events import Events
from volary.engine.actors.inheritance import Inheritance
from volary.engine.actors.job import Job
from volary.engine.actors.space_ledger import SpaceLedger
from volary.engine.actors.tasks import Task, Tasks, nothing
from volary.engine.actors.threads import Threads
from volary.engine.actors.volumes import Volumes
from volary.engine.backends import ActivePool, Backend, OpenVolume, backend_for
from volary.engine.definition_store import DefinitionStore
from volary.engine.errors import (
    ConnectionClosed,
    PoolActive,
    PoolBusy,
    PoolCrashed,
    PoolInactive,
    PoolNotFound,
    PoolTransient,
    TargetUnusable,
    VolaryError,
)
from volary.engine.event import PoolEventKind
from volary.engine.flags import PoolBuild, PoolStart
from volary.engine.log import log
from volary.engine.pool_definition import PoolDefinition
from volary.engine.pool_info import PoolDescription, PoolInfo, PoolState, PoolStatus
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Operation
from volary.engine.settings import Settings
from volary.engine.volume_details import VolumeDetails
from volary.engine.volume_info import VolumeInfo


class PoolActor(Actor):
    """Validates, reserves, spawns workers, answers look-ups; no I/O that can take long."""

    def __init__(
        self,
        threads: Threads,
        engine: pykka.ActorRef[Any],
        *,
        store: DefinitionStore,
        settings: Settings,
        ledger: SpaceLedger,
        events: Events,
        inheritance: Inheritance,
    ) -> None:
        super().__init__(threads)
        self._ledger = ledger
        self._engine = engine
        self._store = store
        self._definition = inheritance.definition
        self._name = inheritance.definition.current.name
        self._active = inheritance.active
        self._tasks = Tasks(
            threads,
            self.actor_ref,
            settings,
            finished=inheritance.finished,
            promise=self._promise,
            rested=self._close_if_idle,
        )
        self._volumes = Volumes(inheritance, self._tasks, ledger, events)
        self._events = events
        self._saving: Job[Any] | None = None
        self._closing: Job[Any] | None = None
        self._crash: PoolCrashed | None = None
        self._vanished = False

    def on_receive(self, message: Any) -> Any:
        """Answer a question, begin an operation, or take note.

        A `VolaryError` is an answer. Any other exception is a defect: the pool can no longer
        trust its state, fails whatever waits on it, and is started anew.
        """
        if self._crash is not None:
            return self._refuse(message, self._crash)
        try:
            if isinstance(message, m.PoolCommand):
                return self._command(message)
            return self._HANDLERS[type(message)](self, message)
        except VolaryError as error:
            return self._refuse(message, error)
        except Exception as error:  # noqa: BLE001 - whatever it is
            return self._refuse(message, self._die(error))

    # Questions.

    def _get_status(self, _: m.GetStatus) -> PoolStatus:
        return PoolStatus(self._definition, self._active is not None, len(self._volumes))

    def _get_info(self, _: m.GetInfo) -> PoolInfo:
        active = self._active
        if active is None:
            busy_with = self._tasks.exclusive
            building = busy_with is not None and busy_with.job.operation == "build pool"
            return PoolInfo(PoolState.BUILDING if building else PoolState.INACTIVE)
        state = active.state()
        try:
            space = active.space()
        except VolaryError:
            if state is not PoolState.INACCESSIBLE:
                raise
            return PoolInfo(state)
        return PoolInfo(
            state,
            space.capacity,
            space.capacity - space.available,
            max(0, space.available - self._ledger.promised(active.device)),
        )

    def _describe(self, _: m.DescribePool) -> PoolDescription:
        info = self._get_info(m.GetInfo())
        if self._active is None:
            return PoolDescription(self._definition.current, info)
        return PoolDescription(self._active.found(), info, self._active.free_extents())

    def _list_volumes(self, _: m.ListVolumes) -> tuple[VolumeInfo, ...]:
        self._require_active()
        return self._volumes.infos()

    def _find_volume(self, message: m.FindVolume) -> VolumeInfo:
        self._require_active()
        return self._volumes.known(message.name)

    def _inspect_volume(self, message: m.InspectVolume) -> VolumeInfo:
        return self._volumes.inspect(self._require_active(), message.name, message.format)

    def _describe_volume(self, message: m.DescribeVolume) -> VolumeDetails:
        active = self._require_active()
        return active.details(self._volumes.inspect(active, message.name, message.format))

    def _lease_volume(self, message: m.LeaseVolume) -> VolumeInfo:
        active = self._require_active()
        self._require_free()
        return self._volumes.lease(active, message)

    def _open_leased(self, message: m.OpenLeased) -> OpenVolume:
        return self._volumes.open(self._require_active(), message)

    def _reserve(self, message: m.Reserve) -> None:
        self._volumes.reserve(self._require_active(), message)

    def _list_jobs(self, _: m.ListJobs) -> tuple[Job[Any], ...]:
        return (*self._tasks.finished, *self._tasks.jobs())

    # Operations on the pool.

    def _command(self, command: m.PoolCommand) -> None:
        """Begin an operation; a refusal is the job's outcome."""
        try:
            if self._closing is not None:
                raise PoolBusy(f"pool {self._name!r} is being closed with its engine")
            if isinstance(command, m.VolumeCommand):
                self._on_volume(command)
            else:
                self._HANDLERS[type(command)](self, command)
        except VolaryError as error:
            self._tasks.finished.append(command.job)
            if isinstance(command, m.DefinePool | m.StartPool) and command.spec is not None:
                self._become(self._definition, dropped=command.spec)
                self._come_to_rest()
            self._refuse(command, error)

    def _define(self, message: m.DefinePool) -> None:
        self._require_free()
        spec, before = message.spec, self._definition.stored

        def done(_: object) -> None:
            self._become(replace(self._definition, stored=spec))
            self._events.of_pool(PoolEventKind.DEFINED, spec)

        def discard(_: object) -> None:
            work = self._store.remove(spec) if before is None else self._store.save(before)
            for _ in work:
                pass

        self._save(
            message.job,
            partial(self._store.save, spec),
            done,
            undone=lambda: self._become(self._definition, dropped=spec),
            discard=discard,
        )

    def _undefine(self, message: m.UndefinePool) -> None:
        self._require_stopped("undefine it")
        stored = self._require_persistent("undefine it")
        self._require_idle("undefine it")

        def done(_: object) -> None:
            self._become(replace(self._definition, stored=None))
            self._come_to_rest()
            self._events.of_pool(PoolEventKind.UNDEFINED, stored)

        work = partial(self._store.remove, stored)
        self._begin(Task(message.job, work, done=done, exclusive=True))

    def _set_autostart(self, message: m.SetAutostart) -> None:
        stored = self._require_persistent("let it start with the engine")
        self._require_free()

        def done(_: object) -> None:
            self._become(replace(self._definition, autostart=message.on))

        self._save(message.job, partial(self._store.set_autostart, stored, on=message.on), done)

    def _save(
        self,
        job: Job[Any],
        work: Callable[[], Operation[None]],
        done: Callable[[object], None],
        *,
        undone: Callable[[], None] = nothing,
        discard: Callable[[object], None] = nothing,
    ) -> None:
        """Begin what changes the definition on disk, beside all that goes on in the pool."""
        if self._saving is not None:
            number, what = self._saving.id, self._saving.operation
            raise PoolBusy(f"pool {self._name!r} is busy with job {number} ({what}); wait for it")
        self._saving = job

        def saved(result: object) -> None:
            self._saving = None
            done(result)
            self._come_to_rest()

        def not_saved() -> None:
            self._saving = None
            undone()
            self._come_to_rest()

        self._begin(Task(job, work, done=saved, undone=not_saved, discard=discard))

    def _build(self, message: m.BuildPool) -> None:
        self._require_stopped("build it")
        work = partial(self._backend().build, message.flags)
        self._begin_at_rest(message.job, work, PoolEventKind.CREATED)

    def _delete_pool(self, message: m.DeletePool) -> None:
        self._require_stopped("delete it")
        work = partial(self._backend().delete, message.flags)
        self._begin_at_rest(message.job, work, PoolEventKind.DELETED)

    def _begin_at_rest(
        self, job: Job[Any], work: Callable[[], Operation[None]], kind: PoolEventKind
    ) -> None:
        """Begin what is done to a pool that is not active, and that may be redefined meanwhile."""

        def done(_: object) -> None:
            self._come_to_rest()
            self._events.of_pool(kind, self._definition.current)

        self._begin(Task(job, work, done=done, undone=self._come_to_rest, exclusive=True))

    def _backend(self) -> Backend:
        return backend_for(self._definition.current)

    def _start(self, message: m.StartPool) -> None:
        if self._active is not None:
            raise PoolActive(f"pool {self._name!r} is active already")
        self._require_free()
        backend = backend_for(message.spec or self._definition.current)
        if message.spec is not None:
            self._become(replace(self._definition, current=message.spec))

        def start() -> Operation[tuple[ActivePool, dict[str, VolumeInfo]]]:
            if message.flags:
                yield from backend.build(_build_flags(message.flags))
            active = yield from backend.start()
            try:
                return active, (yield from active.scan({}))
            except BaseException:
                active.undo_start()
                raise

        def done(result: tuple[ActivePool, dict[str, VolumeInfo]]) -> None:
            self._active = result[0]
            self._volumes.replace(result[1])
            self._events.of_pool(PoolEventKind.STARTED, self._definition.current)

        self._begin(
            Task(
                message.job,
                start,
                done=done,
                undone=self._come_to_rest,
                discard=lambda result: result[0].undo_start(),
                exclusive=True,
            )
        )

    def _stop_pool(self, message: m.StopPool) -> None:
        active = self._require_active()
        self._require_idle("stop it")
        self._volumes.require_unread("stop it")

        def done(_: object) -> None:
            self._volumes.replace({})
            self._come_to_rest()
            self._events.of_pool(PoolEventKind.STOPPED, active.spec)

        def undone() -> None:
            self._active = active

        # Nobody looks into what is being closed.
        self._active = None
        self._begin(Task(message.job, active.stop, done=done, undone=undone, exclusive=True))

    def _refresh(self, message: m.RefreshPool) -> None:
        active = self._require_active()
        self._require_free()
        if active.state() is PoolState.INACCESSIBLE:
            # What is known of its volumes is kept, for when it is put back.
            raise TargetUnusable(
                f"pool {self._name!r}: what it is made of was taken away from "
                f"{active.spec.target or 'it'}; put it back, or stop the pool"
            )
        self._volumes.scan(active, message.job)

    def _on_volume(self, message: m.VolumeCommand) -> None:
        active = self._require_active()
        self._require_free()
        self._volumes.begin(active, message)

    def _begin(self, task: Task) -> None:
        if task.exclusive:
            self._require_free()
        self._tasks.begin(task)

    def _promise(self, size: int) -> None:
        """Have the other pools know what this one has promised."""
        if self._active is not None:
            self._ledger.promise(self._active.device, self._active.uuid, size)

    # From the workers.

    def _ended(self, message: m.Ended) -> None:
        self._tasks.ended(message)

    def _ended_together(self, message: m.EndedTogether) -> None:
        self._tasks.ended_together(message)

    def _announce(self, message: m.Announce) -> None:
        message.announcement.publish()

    def _idle(self, message: m.Idle) -> None:
        self._tasks.idle(message)

    def _advanced(self, message: m.Advanced) -> None:
        self._tasks.advanced(message)

    def _steer_job(self, message: m.SteerJob) -> None:
        self._tasks.steer(message)

    # What must be so.

    def _require_active(self) -> ActivePool:
        if self._active is None:
            raise PoolInactive(f"pool {self._name!r} is not active; start it first")
        return self._active

    def _require_stopped(self, wish: str) -> None:
        if self._active is not None:
            raise PoolActive(f"pool {self._name!r} is active; stop it to {wish}")

    def _require_persistent(self, wish: str) -> PoolSpec:
        """Return the definition on disk."""
        if self._definition.stored is None:
            raise PoolTransient(
                f"pool {self._name!r} is transient; define it as a persistent one to {wish}"
            )
        return self._definition.stored

    def _require_free(self) -> None:
        """No operation on the whole pool may be under way."""
        if self._tasks.exclusive is not None:
            job = self._tasks.exclusive.job
            raise PoolBusy(
                f"pool {self._name!r} is busy with job {job.id} ({job.operation}); wait for it"
            )

    def _require_idle(self, wish: str) -> None:
        self._require_free()
        if self._tasks:
            jobs = ", ".join(f"{job.id} ({job.operation})" for job in self._tasks.jobs())
            raise PoolBusy(f"pool {self._name!r} has jobs: {jobs}; cancel them or wait, to {wish}")

    # The definition.

    def _become(self, definition: PoolDefinition, *, dropped: PoolSpec | None = None) -> None:
        """Take on a definition, and have the engine know which names and places are free again.

        dropped: what it was to become, and does not.
        """
        kept = definition.specs()
        gone = [spec for spec in self._definition.specs() if all(spec is not it for it in kept)]
        if dropped is not None:
            gone.append(dropped)
        moved = definition.current is not self._definition.current
        self._definition = definition
        if gone or moved:
            self._engine.ask(m.PoolChanged(self._status().uuid, definition, tuple(gone)))

    def _come_to_rest(self) -> None:
        """Of a pool that is not active: be what is defined, or nothing where nothing is."""
        if self._active is not None or self._tasks.exclusive is not None:
            return
        if self._definition.is_persistent:
            self._become(self._definition.at_rest())
        elif not self._tasks:
            self._vanish()

    # The end.

    def _vanish(self) -> None:
        """Be no more: undefined, or transient and stopped."""
        self._vanished = True
        self._engine.ask(m.PoolGone(self._status().uuid))
        self.stop()

    def _status(self) -> PoolStatus:
        return self._get_status(m.GetStatus())

    def _close(self, message: m.ClosePool) -> None:
        """Cancel every job; when the last one is undone, let go of the pool and stop."""
        self._closing = message.job
        self._tasks.cancel_all()
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._closing is None or self._tasks:
            return
        job, self._closing = self._closing, None
        active, self._active = self._active, None
        if active is not None:
            active.close()
        self.stop()
        self._threads.settle(partial(job.succeed, None))

    def _die(self, error: Exception) -> PoolCrashed:
        """Fail whatever waits on the pool, have it started anew, and return what to say of it."""
        crash = self._crash = PoolCrashed(
            f"pool {self._name!r} met an error of its own ({error!r}) and was started anew; "
            "its volumes are as they were: look, and try again"
        )
        crash.__cause__ = error
        log().error("a pool crashed", pool=self._name, exc_info=error)
        jobs = self._tasks.jobs()
        workers = self._abort(crash)
        self._engine.tell(
            m.PoolDied(
                Inheritance(
                    self._definition,
                    self._active,
                    self._volumes.snapshot(),
                    self._volumes.readers(),
                    (*self._tasks.finished, *jobs),
                    workers,
                )
            )
        )
        self.stop()
        return crash

    def _abort(self, error: VolaryError) -> tuple[Event, ...]:
        """Have every job fail; return what is set when the workers have undone theirs."""
        if self._closing is not None:
            self._threads.settle(partial(self._closing.fail, error))
            self._closing = None
        return self._tasks.abort(error)

    def _refuse(self, message: Any, error: VolaryError) -> None:
        """Answer `message` with an error, in the way that its sender waits for."""
        if isinstance(message, m.PoolCommand | m.ClosePool):
            # A job ends on a worker's thread: what its callbacks do must not be the pool's worry.
            self._threads.settle(partial(message.job.fail, error))
        elif isinstance(message, m.Announce):
            message.announcement.publish()
        elif isinstance(message, m.Request) and not isinstance(message, m.Ended):
            raise error

    def on_stop(self) -> None:
        """Refuse what came too late to be read: nobody may wait for an answer in vain."""
        name = self._name
        error = self._crash or (
            PoolNotFound(f"pool {name!r} is no more: it was undefined or stopped")
            if self._vanished
            else ConnectionClosed(f"pool {name!r} was stopped with its engine; open a new one")
        )
        self._abort(error)
        late = []
        while not self.actor_inbox.empty():
            late.append(self.actor_inbox.get())
        for envelope in late:
            try:
                self._refuse(envelope.message, error)
            except VolaryError as refusal:
                if envelope.reply_to is not None:
                    envelope.reply_to.set_exception((type(refusal), refusal, None))
            else:
                self.actor_inbox.put(envelope)  # Pykka answers the rest

    _HANDLERS: ClassVar[dict[type, Callable[[PoolActor, Any], Any]]] = {
        m.GetStatus: _get_status,
        m.GetInfo: _get_info,
        m.DescribePool: _describe,
        m.ListVolumes: _list_volumes,
        m.FindVolume: _find_volume,
        m.InspectVolume: _inspect_volume,
        m.DescribeVolume: _describe_volume,
        m.ListJobs: _list_jobs,
        m.DefinePool: _define,
        m.UndefinePool: _undefine,
        m.SetAutostart: _set_autostart,
        m.BuildPool: _build,
        m.StartPool: _start,
        m.StopPool: _stop_pool,
        m.DeletePool: _delete_pool,
        m.RefreshPool: _refresh,
        m.LeaseVolume: _lease_volume,
        m.OpenLeased: _open_leased,
        m.Reserve: _reserve,
        m.SteerJob: _steer_job,
        m.Advanced: _advanced,
        m.Ended: _ended,
        m.EndedTogether: _ended_together,
        m.Announce: _announce,
        m.Idle: _idle,
        m.ClosePool: _close,
    }


def _build_flags(flags: PoolStart) -> PoolBuild:
    """Return how a pool is to be built that is built to be started."""
    if flags & PoolStart.BUILD_OVERWRITE:
        return PoolBuild.OVERWRITE
    return PoolBuild.NO_OVERWRITE if flags & PoolStart.BUILD_NO_OVERWRITE else PoolBuild.NONE
