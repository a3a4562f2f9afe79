"""The worker: one short-lived actor an operation. For creations it is the allocator."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

import pykka

from volary.engine.actors.actor import Actor, ask
from volary.engine.actors.assignment import Assignment
from volary.engine.actors.ending import announce_end_through, bind_job, defect, log_end
from volary.engine.actors.messages import (
    Abort,
    Advanced,
    Cancel,
    Ended,
    Limit,
    Pause,
    Reserve,
    Resume,
    Step,
)
from volary.engine.actors.threads import Threads
from volary.engine.errors import ConnectionClosed, PoolCrashed, VolaryError
from volary.engine.job_state import JobState
from volary.engine.log import log
from volary.engine.progress import Done, Need, Operation, RateMeter, Sync, go_on

_SPACE_INTERVAL = 0.005
"""Seconds between two words to the pool of the space that was taken. Until it hears, it counts
that space twice, as taken and as promised; a reservation that is over sooner ends before that
matters, and a word wakes the pool's thread, which takes as long as a small reservation."""


_STEP = Step()


class WorkerActor(Actor):
    """Drives one operation: an extent, then the mail, then the next extent."""

    def __init__(
        self,
        threads: Threads,
        pool: pykka.ActorRef[Any],
        assignment: Assignment,
        progress_interval: float,
    ) -> None:
        super().__init__(threads)
        self._pool = pool
        self._job = assignment.job
        self._assignment = assignment
        self._interval = progress_interval
        self._limit = assignment.limit
        self._promised = assignment.promised
        self._work: Operation[Any] | None = None
        self._settle: Callable[[], None] | None = None
        self._meter: RateMeter | None = None
        self._at = Done()
        self._taken = 0
        self._due = self._told = self._space_told = self._began = 0.0

    def _start_actor_loop(self) -> None:
        self.run_on_thread(partial(self._job.context.run, self._actor_loop))

    def on_start(self) -> None:
        """Begin with the first extent, unless a message came before."""
        job = self._job
        bind_job(job)
        self._began = self._due = self._told = self._space_told = monotonic()
        job.enter(JobState.RUNNING)
        try:
            self._work = self._assignment.start()
        except BaseException as error:  # noqa: BLE001 - as in _step
            self._fail(defect(self._job, error))
        else:
            self.actor_inbox.set_alarm(0.0, _STEP)

    def on_stop(self) -> None:
        """End the job; undo it first when somebody else stops this actor."""
        if self._work is not None:
            self._undo(self._work, ConnectionClosed("the engine's actors were stopped"))
        if self._settle is not None:
            self._settle()

    def on_receive(self, message: object) -> None:
        """Do what the message says; what comes after the end is late."""
        if self._work is None:
            return
        match message:
            case Step():
                self._step(self._work)
            case Cancel():
                self._undo(self._work, None)
            case Abort(error=error):
                self._undo(self._work, error)
            case Pause():
                self.actor_inbox.clear_alarm()
                self._job.enter(JobState.PAUSED)
            case Resume():
                self._job.enter(JobState.RUNNING)
                self._schedule(0)
            case Limit(rate=rate):
                self._limit = rate
                self._due = monotonic()
                if self._job.state is JobState.RUNNING:
                    self._schedule(0)

    def _step(self, work: Operation[Any]) -> None:
        try:
            at = next(work)
            while not isinstance(at, Done):
                at = go_on(work, at.perform() if isinstance(at, Sync) else self._reserve(at))
        except StopIteration as stop:
            self._finish(stop.value)
        except VolaryError as error:
            self._fail(error)
        except BaseException as error:  # noqa: BLE001 - nothing may reach Pykka: it would stop every actor of the host
            self._fail(defect(self._job, error))
        else:
            advance = at.done - self._at.done
            self._at = at
            self._schedule(advance)
            self._report()

    def _reserve(self, need: Need) -> VolaryError | None:
        """Have the pool promise what the operation needs; return what it has against it."""
        try:
            ask(self._pool, Reserve(self._job.id, need.size))
        except VolaryError as error:
            return error
        except pykka.ActorDeadError:
            return PoolCrashed(f"pool {self._job.pool!r} crashed or was closed; try again")
        self._promised = True
        return None

    def _schedule(self, advance: int) -> None:
        """Have the next extent done at once, or when the rate limit allows."""
        if self._limit is None:
            self.actor_inbox.set_alarm(0.0, _STEP)
            return
        self._due = max(self._due, monotonic() - 1.0) + advance / self._limit
        self.actor_inbox.set_alarm(self._due, _STEP)

    def _report(self) -> None:
        """Tell how far it is, now and then."""
        now = monotonic()
        # Before a rate limit has it wait, it says where it is, however short ago it did.
        due = self._told + self._interval
        if self._meter is None or now >= due or self._due >= due:
            self._meter = self._meter or RateMeter(self._began)
            self._told = now
            self._tell(now)
        if self._promised and now - self._space_told >= _SPACE_INTERVAL:
            self._space_told = now
            self._tell_pool()

    def _tell_pool(self) -> None:
        if self._taken == self._at.taken:
            return
        self._taken = self._at.taken
        with suppress(pykka.ActorDeadError):  # it crashed: its Abort is in the mailbox
            self._pool.tell(Advanced(self._job.id, self._taken))

    def _tell(self, now: float) -> None:
        if self._meter is None:
            return
        raised = self._job.tell(self._meter.progress(self._at, now))
        if raised is not None:
            log().warning("on_progress raised, and is not called again", exc_info=raised)

    def _finish(self, result: object) -> None:
        """Take note that the operation is done."""
        self._tell(monotonic())
        failure = self._tell_end(Ended(self._job.id, succeeded=True, result=result))
        if failure is not None:
            self._assignment.discard(result)
            self._end("failed", partial(self._job.fail, failure), failure)
        else:
            self._end("succeeded", partial(self._job.succeed, result))

    def _undo(self, work: Operation[Any], error: VolaryError | None) -> None:
        """Close the operation early, which undoes it; then end as cancelled, or with `error`."""
        try:
            work.close()
        except VolaryError as undoing:
            error = undoing
        except BaseException as undoing:  # noqa: BLE001 - as in _step
            error = defect(self._job, undoing)
        if error is not None:
            self._fail(error)
            return
        self._tell(monotonic())  # of what cannot be undone, it says how far it came
        self._tell_end(Ended(self._job.id, succeeded=False))
        self._end("cancelled", self._job.end_cancelled)

    def _fail(self, error: VolaryError) -> None:
        self._tell(monotonic())
        self._tell_end(Ended(self._job.id, succeeded=False))
        self._end("failed", partial(self._job.fail, error), error)

    def _tell_end(self, ended: Ended) -> VolaryError | None:
        """Tell the pool that the operation is over; return what it has against it."""
        self._work = None
        self.actor_inbox.clear_alarm()
        try:
            if self._assignment.confirm:
                ask(self._pool, ended)
            else:
                self._pool.tell(ended)
                announce_end_through(self._pool, self._job)
        except pykka.ActorDeadError:
            # What a volume's operation did is on disk, and the pool that is started in this one's
            # place looks there; what one of the pool itself did, nobody took note of.
            if self._assignment.confirm:
                return PoolCrashed(
                    f"pool {self._job.pool!r} crashed or was closed before it took note; try again"
                )
        except VolaryError as error:
            return error
        return None

    def _end(self, how: str, settle: Callable[[], None], error: VolaryError | None = None) -> None:
        """Stop, and end the job as the last act: whoever waits for it then finds this thread
        asleep, and not in its way.
        """
        log_end(how, monotonic() - self._began, error)
        self._settle = settle
        with suppress(pykka.ActorDeadError):  # somebody else stopped it: see on_stop
            self.stop()
