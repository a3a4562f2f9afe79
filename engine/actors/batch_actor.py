"""A worker for quick operations: several at once, which share what they sync."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import pykka

from volary.engine.actors.actor import Actor
from volary.engine.actors.ending import bind_job, defect, log_end
from volary.engine.actors.job import Job, JobState
from volary.engine.actors.messages import Ended, EndedTogether
from volary.engine.actors.threads import Threads
from volary.engine.actors.worker_actor import Assignment
from volary.engine.errors import VolaryError
from volary.engine.progress import Operation, Sync


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
        self._go((lambda: next(work)) if failure is None else (lambda: work.throw(failure)))

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
        if self.error is None:
            log_end("succeeded", seconds)
            self.job.succeed(self.result)
        else:
            log_end("failed", seconds, self.error)
            self.job.fail(self.error)


class BatchActor(Actor):
    """Drives a few operations, each of which is over within a fraction of a millisecond.

    It takes no messages: before one were read, there would be nothing left to steer.
    """

    def __init__(
        self, threads: Threads, pool: pykka.ActorRef[Any], assignments: list[Assignment]
    ) -> None:
        super().__init__(threads)
        self._pool = pool
        self._runs = [_Run(assignment) for assignment in assignments]
        self._began = 0.0

    def on_start(self) -> None:
        """Do it all."""
        self._began = monotonic()
        for run in self._runs:
            run.job.context.run(run.begin)
        while self._sync():
            pass
        ended = tuple(
            Ended(run.job.id, succeeded=run.error is None, result=run.result) for run in self._runs
        )
        with suppress(pykka.ActorDeadError):  # the pool crashed; the next one asks the disk
            self._pool.tell(EndedTogether(ended))
        self.stop()

    def _sync(self) -> bool:
        """Sync what operations wait for, each descriptor once; return whether any did."""
        waiting = [(run, run.wants) for run in self._runs if run.wants is not None]
        failures: dict[int, OSError | None] = {}
        for run, wants in waiting:
            if wants.fd not in failures:
                failures[wants.fd] = wants.perform()
            run.job.context.run(run.go_on, failures[wants.fd])
        return bool(waiting)

    def on_stop(self) -> None:
        """End the jobs as the last act, as `WorkerActor` does."""
        seconds = monotonic() - self._began
        for run in self._runs:
            run.job.context.run(run.settle, seconds)

    def on_receive(self, message: object) -> None:
        """Pass over what came too late."""
