"""An engine as its callers see it: opened, asked for pools, closed."""

from __future__ import annotations

import atexit
import itertools
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Event, current_thread
from typing import Any, TypeVar
from uuid import UUID

import pykka

from volary.engine.actors import messages as m
from volary.engine.actors.engine_actor import EngineActor
from volary.engine.actors.events import Events
from volary.engine.actors.host import Host
from volary.engine.actors.job import Job
from volary.engine.actors.life import Life
from volary.engine.actors.pool_ref import PoolRef
from volary.engine.actors.threads import EngineThread, Threads
from volary.engine.definition_store import DefinitionStore
from volary.engine.errors import BackendMissing, ConnectionClosed, PoolNotFound, VolaryError
from volary.engine.flags import PoolStart
from volary.engine.log import log
from volary.engine.pool_conflict import Claim
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Progress
from volary.engine.settings import Settings

T = TypeVar("T")
R = TypeVar("R")

_STARTED_AT_ONCE = 16
"""Pools that are started at the same time when an engine opens."""

_CLOSED = "the connection is closed; open a new one"


class Engine:
    """One engine: its actors, its threads and its state directory."""

    def __init__(self, state_dir: str, settings: Settings) -> None:
        """Take the state directory, bring its pools back, and start those with autostart."""
        self.state_dir = state_dir
        self._closers = itertools.count()
        self._is_closed = Event()
        self._job_ids = itertools.count(1)
        self._store = DefinitionStore(state_dir)
        self._life = Life(self._forget)
        self._threads = Threads()
        self.events = Events()
        self.host = Host(self._life)
        try:
            self._actor: pykka.ActorRef[EngineActor] = EngineActor.start(
                self._threads,
                store=self._store,
                settings=settings,
                job_ids=self._job_ids,
                life=self._life,
                events=self.events,
                stored=self._store.load(),
            )
        except BaseException:
            self._store.close()
            raise
        # A host that forgets to close is closed at its exit.
        atexit.register(self.close)
        try:
            self.host.start(self._threads, settings)
            self._autostart()
        except BaseException:
            self.close()
            raise

    def _forget(self) -> None:
        """Be over in a fork."""
        self._store.forget()
        self.events.forget()

    def _autostart(self) -> None:
        running: set[Job[None]] = set()
        for ref in self.ask(m.ListPools()):
            if not ref.ask(m.GetStatus()).definition.autostart:
                continue
            if len(running) >= _STARTED_AT_ONCE:
                running -= wait(running, return_when=FIRST_COMPLETED).done
            job: Job[None] = self.job("start pool", pool=ref.name, convert=lambda _: None)
            # A pool that cannot be started is logged, and keeps nobody else out: by its worker,
            # unless there is nothing that could start it.
            job.add_done_callback(partial(_log_refusal, ref.name))
            ref.submit(m.StartPool(job))
            running.add(job)
        wait(running)

    def ask(self, request: m.Request[R]) -> R:
        """Return the engine's answer, or raise the error that it answers with."""
        self._life.check()
        try:
            answer: R = self._actor.ask(request, block=True)
        except pykka.ActorDeadError:
            raise ConnectionClosed("the engine was stopped") from None
        return answer

    def define_pool(self, job: Job[Any], spec: PoolSpec) -> None:
        """Save a definition, of a new pool or one that has its name and UUID; the job's result is
        made from the pool's `PoolRef`.
        """
        spec = _another(spec)
        self._add_pool(m.DefinePool(job, spec), spec)

    def create_pool(self, job: Job[Any], spec: PoolSpec, flags: PoolStart) -> None:
        """Start a pool, a transient one unless one of its name and UUID is defined; the job's
        result is made from the pool's `PoolRef`.
        """
        spec = _another(spec)
        self._add_pool(m.StartPool(job, flags, spec), spec)

    def _add_pool(self, command: m.DefinePool | m.StartPool, spec: PoolSpec) -> None:
        try:
            self.ask(m.AddPool(command, Claim.of(spec), PoolRef(spec, self._life)))
        except VolaryError as error:
            command.job.fail(error)

    def find_pool(self, *, name: str | None = None, uuid: UUID | None = None) -> PoolRef:
        """Return the pool with this name or UUID; raises `PoolNotFound`."""
        return self.ask(m.FindPool(name, uuid))

    def pools_at(self, target: str) -> tuple[PoolRef, ...]:
        """Return the pools with this target, or whose target leads there: at most one of those
        whose volumes are files, but many disks have "/dev".
        """
        return self.ask(m.FindPoolsAt(target))

    def pool_of(self, folder: str, name: str) -> PoolRef:
        """Return the pool that a volume of that name in that directory is of, or would be.

        Raises `PoolNotFound` when no pool has the directory.
        """
        refs = self.pools_at(folder)
        for ref in refs if len(refs) > 1 else ():
            with suppress(VolaryError):
                ref.ask(m.FindVolume(name))
                return ref
        if not refs:
            raise PoolNotFound(f"no pool has the target {folder}")
        return refs[0]

    def pools(self) -> tuple[PoolRef, ...]:
        """Return every pool."""
        return self.ask(m.ListPools())

    def job(
        self,
        operation: str,
        *,
        pool: str | None = None,
        volume: str | None = None,
        convert: Callable[[Any], T],
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[T]:
        """Return a job with a number of its own, to be submitted."""
        self._life.check()
        return Job(
            next(self._job_ids),
            operation,
            pool=pool,
            volume=volume,
            convert=convert,
            on_progress=on_progress,
            events=self.events,
        )

    def close(self) -> None:
        """Cancel every job and wait until they are undone; end every actor and thread."""
        if isinstance(current_thread(), EngineThread):
            raise ConnectionClosed(
                "close() waits for the engine's threads, and this callback runs on one: "
                "close the connection from a thread of your own"
            )
        if next(self._closers) == 0:
            self._close()
        elif not self._life.ended:
            self._is_closed.wait()

    def _close(self) -> None:
        atexit.unregister(self.close)
        if self._life.forked:
            return
        at_rest = False
        try:
            self._life.close(_CLOSED)
            self._close_pools()
            at_rest = True
        finally:
            # A wait that is interrupted, by a second Ctrl-C say, leaves the rest to the threads,
            # which are daemons: what they have not undone has no name.
            self._life.end(_CLOSED)
            with suppress(pykka.ActorDeadError):
                self._actor.stop(block=False)
            try:
                self._threads.close(wait=at_rest)
            finally:
                self._store.close()
                self._is_closed.set()
                # Nobody publishes any more; what has not been heard yet still is.
                self.events.close(wait=at_rest)

    def _close_pools(self) -> None:
        closing: list[Job[None]] = []
        try:
            refs = self._actor.ask(m.Close(), block=True)
        except pykka.ActorDeadError:
            return  # the host stopped every actor of the process itself
        for ref in refs:
            job: Job[None] = Job(
                next(self._job_ids), "close pool", pool=ref.name, convert=lambda _: None
            )
            if ref.close(m.ClosePool(job)):
                closing.append(job)
        last: Job[None] = Job(next(self._job_ids), "close host", pool=None, convert=lambda _: None)
        if self.host.close(m.ClosePool(last)):
            closing.append(last)
        wait(closing)


def _another(spec: PoolSpec) -> PoolSpec:
    """Return what is told from every other definition, though a caller may give it twice."""
    return replace(spec.with_uuid())


def _log_refusal(pool: str, job: Job[None]) -> None:
    error = None if job.cancelled() else job.exception()
    if isinstance(error, BackendMissing):
        log().error("a pool was not started", pool=pool, why=str(error))
