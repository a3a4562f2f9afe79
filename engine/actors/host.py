"""The operations of the host that belong to no pool."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import pykka

from volary.engine.actors import messages as m
from volary.engine.actors.actor import Actor, ask
from volary.engine.actors.job import Job
from volary.engine.actors.life import Life
from volary.engine.actors.tasks import Task, Tasks, nothing
from volary.engine.actors.threads import Threads
from volary.engine.errors import ConnectionClosed, InternalFailure, VolaryError
from volary.engine.log import log
from volary.engine.settings import Settings

_STOPPED = "the engine's actors were stopped; open a new connection"


class HostActor(Actor):
    """Has workers do it, and keeps the account of their jobs."""

    def __init__(self, threads: Threads, settings: Settings) -> None:
        super().__init__(threads)
        self._closing: Job[None] | None = None
        self._tasks = Tasks(
            threads,
            self.actor_ref,
            settings,
            finished=(),
            promise=nothing,
            rested=self._stop_if_idle,
        )

    def on_receive(self, message: Any) -> Any:
        """Answer, begin an operation, or take note."""
        try:
            return self._HANDLERS[type(message)](self, message)
        except Exception as error:
            # A defect, which nobody could start this anew after: what it was asked for fails.
            log().error("the host's actor met an error of its own", exc_info=error)
            failure = InternalFailure(f"the engine failed on a defect of Volary: {error!r}")
            if isinstance(message, m.ListJobs):
                raise failure from error
            self._refuse(message, failure)
            return None

    def on_stop(self) -> None:
        """Fail what nobody will do any more."""
        error = ConnectionClosed(_STOPPED)
        self._tasks.abort(error)
        late = []
        while not self.actor_inbox.empty():
            late.append(self.actor_inbox.get())
        for envelope in late:
            self._refuse(envelope.message, error)
            self.actor_inbox.put(envelope)  # Pykka answers who asked

    def _refuse(self, message: object, error: VolaryError) -> None:
        if isinstance(message, m.FindSources | m.ClosePool):
            self._threads.settle(partial(message.job.fail, error))
        elif isinstance(message, m.Announce):
            message.announcement.publish()

    def _find_sources(self, message: m.FindSources) -> None:
        # Not all at once: each runs programs, and asks other hosts.
        self._tasks.begin(Task(message.job, message.start, lane=self._tasks.allocators))

    def _list_jobs(self, _: m.ListJobs) -> tuple[Job[Any], ...]:
        return (*self._tasks.finished, *self._tasks.jobs())

    def _close(self, message: m.ClosePool) -> None:
        self._closing = message.job
        self._tasks.cancel_all()
        self._stop_if_idle()

    def _stop_if_idle(self) -> None:
        if self._closing is not None and not self._tasks:
            job, self._closing = self._closing, None
            self.stop()
            self._threads.settle(partial(job.succeed, None))

    def _ended(self, message: m.Ended) -> None:
        self._tasks.ended(message)

    def _announce(self, message: m.Announce) -> None:
        message.announcement.publish()

    def _steer_job(self, message: m.SteerJob) -> None:
        self._tasks.steer(message)

    _HANDLERS: ClassVar[dict[type, Callable[[HostActor, Any], Any]]] = {
        m.FindSources: _find_sources,
        m.ListJobs: _list_jobs,
        m.SteerJob: _steer_job,
        m.Ended: _ended,
        m.Announce: _announce,
        m.ClosePool: _close,
    }


class Host:
    """How the host's actor is reached; its jobs are steered through it, too."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._actor: pykka.ActorRef[HostActor] | None = None

    def start(self, threads: Threads, settings: Settings) -> None:
        """Start the actor; raises `InternalFailure` when there is no thread for it."""
        self._actor = HostActor.start(threads, settings)

    def submit(self, command: m.FindSources) -> None:
        """Have an operation begun; its job tells the outcome."""
        command.job.submitted(self)
        actor = self._require_actor()
        try:
            actor.tell(command)
        except pykka.ActorDeadError:
            raise ConnectionClosed(_STOPPED) from None
        if not actor.is_alive():
            command.job.fail(ConnectionClosed(_STOPPED))

    def jobs(self) -> tuple[Job[Any], ...]:
        """Return the jobs that wait or run, and the last ones that ended."""
        try:
            jobs: tuple[Job[Any], ...] = ask(self._require_actor(), m.ListJobs())
        except pykka.ActorDeadError:
            return ()
        return jobs

    def close(self, message: m.ClosePool) -> bool:
        """Have every job cancelled and the actor stopped; return whether there is anything to wait
        for.
        """
        if self._actor is None:
            return False
        try:
            self._actor.tell(message)
        except pykka.ActorDeadError:
            return False
        return self._actor.is_alive()

    def _require_actor(self) -> pykka.ActorRef[HostActor]:
        self._life.check()
        if self._actor is None:
            raise ConnectionClosed(_STOPPED)
        return self._actor

    # Steering, of `volary.engine.actors.job.Steering`.

    def check(self) -> None:
        """Raise `ConnectionClosed` when nobody will ever end the job."""
        self._life.check_jobs()

    def cancel(self, job_id: int) -> None:
        """Have the job undone and ended."""
        self._steer(job_id, m.Cancel())

    def pause(self, job_id: int) -> None:
        """Have the job stand still."""
        self._steer(job_id, m.Pause())

    def resume(self, job_id: int) -> None:
        """Have the job go on."""
        self._steer(job_id, m.Resume())

    def limit(self, job_id: int, rate: int | None) -> None:
        """Have the job do at most `rate` bytes a second."""
        self._steer(job_id, m.Limit(rate))

    def _steer(self, job_id: int, action: m.Action) -> None:
        with suppress(pykka.ActorDeadError):  # it fails its jobs when it stops
            self._require_actor().tell(m.SteerJob(job_id, action))
