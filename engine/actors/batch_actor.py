"""A worker for quick operations: several at once, which share what they sync."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

import pykka

from volary.engine.actors.actor import Actor
from volary.engine.actors.assignment import Assignment
from volary.engine.actors.ending import (
    announce_end_through,
    announce_through,
    bind_job,
    defect,
    log_end,
)
from volary.engine.actors.events import Announcement
from volary.engine.actors.job import Job
from volary.engine.actors.messages import Abort, Batch, Ended, EndedTogether, Idle
from volary.engine.actors.threads import Threads
from volary.engine.errors import VolaryError
from volary.engine.event import JobEvent
from volary.engine.job_state import JobState
from volary.engine.progress import Operation, Sync, go_on

_PATIENCE = 1.0
"""Seconds to wait for the next batch."""


class _Run:
    """One operation of the batch: where it is, and how it ended."""

    def __init__(self, assignment: Assignment) -> None:
        self.job: Job[Any] = assignment.job
        self.wants: Sync | None = None
        self.error: VolaryError | None = None
        self.result: Any = None
        self._start = assignment.start
        self._work: Operation[Any] | None = None

    def begin(self) -> None:
        """Go to the first sync, or to the end."""
        bind_job(self.job)
        self.job.enter(JobState.RUNNING)

        def start() -> object:
            self._work = self._start()
            return next(self._work)

        self._go(start)

    def go_on(self, failure: OSError | None) -> None:
        """Go on after the sync, which may have failed."""
        work = self._work
        assert work is not None  # noqa: S101 - it has begun
        self.wants = None
        self._go(partial(go_on, work, failure))

    def _go(self, step: Callable[[], object]) -> None:
        try:
            while not isinstance(at := step(), Sync):
                work = self._work
                assert work is not None  # noqa: S101 - the step made it
                step = work.__next__
            self.wants = at
        except StopIteration as stop:
            self.result = stop.value
        except VolaryError as error:
            self.error = error
        except BaseException as error:  # noqa: BLE001 - nothing may reach Pykka
            self.error = defect(self.job, error)

    def settle(self, seconds: float) -> None:
        """End the job."""
        self.job.context.run(self._settle, seconds)

    def _settle(self, seconds: float) -> None:
        if self.error is None:
            log_end("succeeded", seconds)
            self.job.succeed(self.result)
        else:
            log_end("failed", seconds, self.error)
            self.job.fail(self.error)


class BatchActor(Actor):
    """Drives a few operations at a time, each of which is over within a fraction of a millisecond.

    Starting an actor takes a tenth of a sparse creation's time, so that this one waits a while
    for the next batch. Between the operations of a batch it reads no messages: before one were
    read, there would be nothing left to steer.
    """

    def __init__(self, threads: Threads, pool: pykka.ActorRef[Any]) -> None:
        super().__init__(threads)
        self._pool = pool

    def on_receive(self, message: object) -> None:
        """Do a batch; tell the pool when none has come for a while; pass over what is late."""
        match message:
            case Batch(assignments=assignments):
                self._do([_Run(assignment) for assignment in assignments])
                self.actor_inbox.set_alarm(monotonic() + _PATIENCE, Idle(self.actor_ref))
            case Idle():
                with suppress(pykka.ActorDeadError):
                    self._pool.tell(message)
            case Abort():
                self.stop()

    def _do(self, runs: list[_Run]) -> None:
        began = monotonic()
        for run in runs:
            run.job.context.run(run.begin)
        while self._sync(runs):
            pass
        ended = tuple(
            Ended(run.job.id, succeeded=run.error is None, result=run.result) for run in runs
        )
        with suppress(pykka.ActorDeadError):  # the pool crashed; the next one asks the disk
            self._pool.tell(EndedTogether(self.actor_ref, ended))
        # The last act, as with `WorkerActor`: who waits finds this thread about to sleep.
        seconds = monotonic() - began
        ends: list[JobEvent] = []
        for run in runs:
            settle = partial(run.settle, seconds)
            # What somebody's callback does must not keep the next batch waiting.
            if run.job.has_callbacks:
                announce_end_through(self._pool, run.job)
                self._threads.settle(settle)
            else:
                run.job.tell_end_by(ends.append)
                settle()
        if ends:
            announce_through(self._pool, Announcement(runs[0].job.events, tuple(ends)))

    def _sync(self, runs: list[_Run]) -> bool:
        """Sync what operations wait for, each descriptor once; return whether any did."""
        waiting = [(run, run.wants) for run in runs if run.wants is not None]
        failures: dict[int, OSError | None] = {}
        for run, wants in waiting:
            if wants.fd not in failures:
                failures[wants.fd] = wants.perform()
            run.job.context.run(run.go_on, failures[wants.fd])
        return bool(waiting)
