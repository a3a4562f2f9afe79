"""The operations of one pool: those that run, and those that wait for a worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

import pykka

from volary.engine.actors import messages as m
from volary.engine.actors.assignment import Assignment
from volary.engine.actors.batch_actor import BatchActor
from volary.engine.actors.job import Job
from volary.engine.actors.lane import Lane
from volary.engine.actors.threads import Threads
from volary.engine.actors.worker_actor import WorkerActor
from volary.engine.errors import InternalFailure, VolaryError
from volary.engine.job_state import JobState
from volary.engine.progress import Operation
from volary.engine.settings import Settings

_QUICK_WORKERS = 2
_BATCH = 32
"""Quick operations that one worker takes on together: they share a sync, and a message to the
pool, and keep fewer threads from each other's interpreter lock. Two workers, so that one batch
gathers and runs while the other waits for the disk."""


_NO_BOUND = 1 << 30


def nothing(_result: Any = None) -> None:
    """Take note of nothing."""


@dataclass(slots=True)
class Task:
    """An operation that runs or waits, and what is to be done in the pool when it ends.

    done, undone: take note of the result, or that nothing is left of it.
    discard: lets go of a result that nobody takes.
    lane: where it waits for its turn; None when it runs at once.
    exclusive: no other operation may be begun while it runs.
    needed: bytes of space that it is promised.
    """

    job: Job[Any]
    start: Callable[[], Operation[Any]]
    done: Callable[[Any], None] = nothing
    undone: Callable[[], None] = nothing
    discard: Callable[[Any], None] = nothing
    lane: Lane | None = None
    exclusive: bool = False
    needed: int = 0
    promised: int = 0
    worker: pykka.ActorRef[Any] | None = None
    limit: int | None = None


class Tasks:
    """Gives tasks to workers, and forgets those that have ended. Used by the pool's actor only.

    pool: the pool's actor, which the workers tell of their ends.
    promise: is told the bytes promised in all, whenever they change.
    rested: is called when a task has ended, with nothing left to do for it.
    """

    def __init__(
        self,
        threads: Threads,
        pool: pykka.ActorRef[Any],
        settings: Settings,
        *,
        finished: Iterable[Job[Any]],
        promise: Callable[[int], None],
        rested: Callable[[], None],
    ) -> None:
        self._threads = threads
        self._pool = pool
        self._progress_interval = settings.progress_interval
        self._promise_all = promise
        self._rested = rested
        self._by_job: dict[int, Task] = {}
        self._idle_workers: list[pykka.ActorRef[BatchActor]] = []
        self.exclusive: Task | None = None
        self.promised = 0
        self.finished: deque[Job[Any]] = deque(finished, maxlen=settings.finished_jobs_per_pool)
        self.allocators = Lane(settings.allocators_per_pool)
        self.deletions = Lane(settings.deletions_per_pool)
        self.transfers = Lane(settings.transfers_per_pool)
        # What is paced by a caller waits for nobody's turn: two of them may wait for each other.
        self.streams = Lane(_NO_BOUND)
        self.quick = Lane(_QUICK_WORKERS, batch=_BATCH)

    def __bool__(self) -> bool:
        return bool(self._by_job)

    def jobs(self) -> list[Job[Any]]:
        """Return the jobs that have not ended."""
        return [task.job for task in self._by_job.values()]

    def begin(self, task: Task) -> None:
        """Run the task, or let it wait for its turn."""
        if task.exclusive:
            self.exclusive = task
        self._by_job[task.job.id] = task
        self._promise(task, task.needed)
        if task.lane is None:
            self._spawn(task)
        else:
            task.lane.enter(task.job.id)
            self._run_lane(task.lane)

    def _run_lane(self, lane: Lane) -> None:
        """Give waiting jobs to the lane's free workers."""
        while job_ids := lane.take():
            tasks = [self._by_job[job_id] for job_id in job_ids]
            if lane is self.quick:
                self._spawn_together(tasks)
            else:
                self._spawn(tasks[0])

    def _spawn_together(self, tasks: list[Task]) -> None:
        try:
            worker = (
                self._idle_workers.pop()
                if self._idle_workers
                else BatchActor.start(self._threads, self._pool)
            )
        except InternalFailure as error:
            self.quick.leave()
            for task in tasks:
                self._give_up(task, error)
            return
        for task in tasks:
            task.worker = worker
        worker.tell(m.Batch(tuple(self._assignment(task) for task in tasks)))

    def _spawn(self, task: Task) -> None:
        try:
            task.worker = WorkerActor.start(
                self._threads, self._pool, self._assignment(task), self._progress_interval
            )
        except InternalFailure as error:
            if task.lane is not None:
                task.lane.leave()
            self._give_up(task, error)

    def _give_up(self, task: Task, error: VolaryError) -> None:
        """Fail a job that no worker could be had for."""
        self._forget(task.job.id).undone()
        self._threads.settle(partial(task.job.fail, error))
        self._rested()

    def _assignment(self, task: Task) -> Assignment:
        return Assignment(
            start=task.start,
            job=task.job,
            promised=task.needed > 0,
            confirm=task.lane is None,
            discard=task.discard,
            limit=task.limit,
        )

    def ended(self, message: m.Ended) -> None:
        """Take note that a worker is done, or that it has undone everything."""
        lane = self._take_note(message)
        if lane is not None:
            lane.leave()
            self._run_lane(lane)
        self._rested()

    def ended_together(self, message: m.EndedTogether) -> None:
        """Take note that a batch is over."""
        for ended in message.ended:
            self._take_note(ended)
        self._idle_workers.append(message.worker)
        self.quick.leave()
        self._run_lane(self.quick)
        self._rested()

    def _take_note(self, message: m.Ended) -> Lane | None:
        task = self._forget(message.job_id)
        if message.succeeded:
            task.done(message.result)
        else:
            task.undone()
        return task.lane

    def _forget(self, job_id: int) -> Task:
        task = self._by_job.pop(job_id)
        self._promise(task, 0)
        if task.exclusive:
            self.exclusive = None
        self.finished.append(task.job)
        return task

    def idle(self, message: m.Idle) -> None:
        """Let a worker go that has nothing to do, unless it was just given something."""
        if message.worker in self._idle_workers:
            self._idle_workers.remove(message.worker)
            _dismiss(message.worker)

    def advanced(self, message: m.Advanced) -> None:
        """Bytes that are on disk are no longer promised: the file system counts them itself."""
        task = self._by_job.get(message.job_id)
        if task is not None:
            self._promise(task, max(0, task.needed - message.taken))

    def promised_to(self, job_id: int) -> int:
        """Return how many bytes a job has been promised, and has not taken."""
        task = self._by_job.get(job_id)
        return 0 if task is None else task.promised

    def promise(self, job_id: int, size: int) -> None:
        """Promise a job that runs so many bytes in all."""
        task = self._by_job.get(job_id)
        if task is not None:
            task.needed = size
            self._promise(task, size)

    def _promise(self, task: Task, size: int) -> None:
        """Have `size` bytes promised to the task."""
        if size == task.promised:
            return
        self.promised += size - task.promised
        task.promised = size
        self._promise_all(self.promised)

    def steer(self, message: m.SteerJob) -> None:
        """Have a job's worker do what the message says, or do it to the job that waits."""
        task = self._by_job.get(message.job_id)
        if task is None:
            return  # it has just ended: there is nothing left to steer
        if task.worker is not None:
            with suppress(pykka.ActorDeadError):  # it has just ended: its word is in the mailbox
                task.worker.tell(message.action)
            return
        match message.action:
            case m.Cancel():
                if task.lane is not None:
                    task.lane.drop(task.job.id)
                self._forget(message.job_id).undone()
                self._threads.settle(task.job.end_cancelled)
                self._rested()
            case m.Pause():
                if task.lane is not None:
                    task.lane.drop(task.job.id)
                task.job.enter(JobState.PAUSED)
            case m.Resume():
                task.job.enter(JobState.WAITING)
                if task.lane is not None:
                    task.lane.enter(task.job.id)
                    self._run_lane(task.lane)
            case m.Limit(rate=rate):
                task.limit = rate

    def cancel_all(self) -> None:
        """Have every task undone."""
        for job_id in list(self._by_job):
            self.steer(m.SteerJob(job_id, m.Cancel()))

    def abort(self, error: VolaryError) -> tuple[Event, ...]:
        """Have every job fail, without taking note of it in the pool, and let the workers go;
        return what is set when they have undone theirs.
        """
        workers = []
        for task in self._by_job.values():
            if task.worker is None:
                self._threads.settle(partial(task.job.fail, error))
                continue
            workers.append(task.worker.actor_stopped)
            with suppress(pykka.ActorDeadError):  # it has just ended
                task.worker.tell(m.Abort(error))
        self._by_job.clear()
        if self.promised:
            self.promised = 0
            self._promise_all(0)
        for worker in self._idle_workers:
            _dismiss(worker)
        self._idle_workers.clear()
        return tuple(workers)


def _dismiss(worker: pykka.ActorRef[Any]) -> None:
    with suppress(pykka.ActorDeadError):  # the host stopped every actor
        worker.stop(block=False)
