"""A job: a long operation that can be waited for, awaited, watched and steered."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from threading import current_thread
from typing import Any, Final, Protocol, TypeVar

from volary.engine.actors.events import Events
from volary.engine.actors.threads import EngineThread
from volary.engine.errors import InvalidSpec, VolaryError
from volary.engine.event import JobEvent, JobEventKind
from volary.engine.job_state import JobState
from volary.engine.log import log
from volary.engine.progress import Progress
from volary.engine.size import Size, parse_size

T = TypeVar("T")


_NOBODY: Final = Events()
"""What nobody listens to."""


class Steering(Protocol):
    """How a job reaches the actor that runs it."""

    def check(self) -> None:
        """Raise `ConnectionClosed` when nobody will ever end the job."""

    def cancel(self, job_id: int) -> None:
        """Have the job undone and ended."""

    def pause(self, job_id: int) -> None:
        """Have the job stand still after its extent."""

    def resume(self, job_id: int) -> None:
        """Have the job go on."""

    def limit(self, job_id: int, rate: int | None) -> None:
        """Have the job do at most `rate` bytes a second."""


class Job(concurrent.futures.Future[T]):
    """A long operation: a `concurrent.futures.Future` of its result that can also be awaited.

    id: its number in this engine.
    operation: what it does, such as "create volume".
    pool, volume: the names of what it does it to; `volume` is None for a pool's own operations,
        and `pool`, too, for those of the host.
    created, ended: seconds since the epoch; `ended` is None until it is done.

    Callbacks run on one of the engine's threads: they may call anything of Volary's that does
    not block on a job.
    """

    def __init__(
        self,
        job_id: int,
        operation: str,
        *,
        pool: str | None,
        volume: str | None = None,
        convert: Callable[[Any], T],
        on_progress: Callable[[Progress], None] | None = None,
        events: Events | None = None,
    ) -> None:
        super().__init__()
        # The first of its callbacks: whoever hears of its end finds it done, and does not wait
        # for what the others do.
        super().add_done_callback(_tell_end)
        self.id = job_id
        self.operation = operation
        self.pool = pool
        self.volume = volume
        self.created = time.time()
        self.ended: float | None = None
        # The caller's context: what a host bound there, such as a request's id, is in the job's
        # log lines too.
        self.context = contextvars.copy_context()
        self._convert = convert
        self._on_progress = on_progress
        self.events = events or _NOBODY
        self._tell_end: Callable[[JobEvent], object] = self.events.publish
        self._begun = False
        self._phase = JobState.WAITING
        self._progress = Progress()
        self._steering: Steering | None = None
        self._at_end: list[Callable[[], None]] = []
        self.has_callbacks = False
        """Whether somebody's function is called when it has ended."""

    def __repr__(self) -> str:
        what = f"{self.pool}/{self.volume}" if self.volume is not None else self.pool or "the host"
        return f"<Job {self.id}: {self.operation} {what}, {self.state.value}>"

    @property
    def where(self) -> str:
        """What it works on, in words."""
        if self.pool is None:
            return "the host"
        if self.volume is None:
            return f"pool {self.pool!r}"
        return f"volume {self.volume!r} of pool {self.pool!r}"

    @property
    def state(self) -> JobState:
        """Waiting, running, paused, succeeded, failed or cancelled."""
        if not self.done():
            return self._phase
        if self.cancelled():
            return JobState.CANCELLED
        return JobState.FAILED if self.exception() is not None else JobState.SUCCEEDED

    def running(self) -> bool:
        """Say whether it has begun, and has not ended."""
        return self.state in (JobState.RUNNING, JobState.PAUSED)

    def progress(self) -> Progress:
        """Return how far it is, as last told: at most some tens of milliseconds ago."""
        return self._progress

    def result(self, timeout: float | None = None) -> T:
        """Wait, at most `timeout` seconds, and return the result.

        Raises what the operation failed with; `concurrent.futures.CancelledError` when it was
        cancelled; TimeoutError when it is not done by then.
        """
        self._check()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait, at most `timeout` seconds, and return what the operation failed with, or None."""
        self._check()
        return super().exception(timeout)

    def add_done_callback(self, fn: Callable[[concurrent.futures.Future[T]], object]) -> None:
        """Call `fn` with the job when it has ended; at once if it has already."""

        def guarded(job: concurrent.futures.Future[T]) -> None:
            try:
                fn(job)
            except Exception:
                raise  # the standard library logs it
            except BaseException as error:
                if not isinstance(current_thread(), EngineThread):
                    raise
                # It would end the thread, and keep the other callbacks from being called.
                log().error("a callback of a job raised", job=self.id, exc_info=error)

        self.has_callbacks = True
        super().add_done_callback(guarded)

    def cancel(self) -> bool:
        """Undo it, and wait until nothing of it is left: one extent's time at the most.

        On a thread that runs an asyncio event loop, and in callbacks on the engine's own threads,
        it does not wait: the job is cancelled soon after.

        Returns whether the job is cancelled (where it did not wait: is going to be, unless it is
        done first). False says that it had ended already.
        """
        if not self.done() and self._steering is not None:
            self._steering.check()
            # A pool that just crashed fails its jobs itself.
            with suppress(VolaryError):
                self._steering.cancel(self.id)
            if _must_not_block():
                return not self.done() or self.cancelled()
            concurrent.futures.wait([self])
        return self.cancelled()

    def pause(self) -> None:
        """Stand still after the extent that is being worked on; what is done stays."""
        self._steer().pause(self.id)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._steer().resume(self.id)

    def limit(self, bytes_per_second: Size | None) -> None:
        """Do at most so many bytes a second, averaged over extents; None lifts the limit.

        Raises `InvalidSpec` for a rate that is none, or 0: `pause` is for that.
        """
        rate = None if bytes_per_second is None else parse_size(bytes_per_second, "rate limit")
        if rate == 0:
            raise InvalidSpec("rate limit: 0 would never end; use pause()")
        self._steer().limit(self.id, rate)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait in asyncio; a task that is cancelled while it waits cancels the job, and hears of
        it when the job is undone. `asyncio.shield(job)` keeps the job going.
        """
        return self._awaited().__await__()

    async def _awaited(self) -> T:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def note() -> None:
            if not ended.done():
                ended.set_result(None)

        def wake(_: object) -> None:
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(note)

        super().add_done_callback(wake)
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            if not self.done():
                self.cancel()
                await asyncio.wait([ended])
            raise
        if self.cancelled():
            raise asyncio.CancelledError
        return self.result()

    # What follows is for the engine.

    @property
    def has_listeners(self) -> bool:
        """Whether anybody is told of events."""
        return bool(self.events.listeners)

    def _check(self) -> None:
        """Raise rather than wait for what nobody will end."""
        if self._steering is not None and not self.done():
            self._steering.check()

    def _steer(self) -> Steering:
        assert self._steering is not None  # noqa: S101 - every job is submitted when it is made
        return self._steering

    def submitted(self, steering: Steering) -> None:
        """Remember who can steer it."""
        self._steering = steering

    def returns(self, result: object) -> None:
        """Have it end with `result`, whatever its operation returns."""
        convert = self._convert
        self._convert = lambda _: convert(result)

    def at_end(self, let_go: Callable[[], None]) -> None:
        """Have something let go of when it is over, before anybody hears of that."""
        self._at_end.append(let_go)

    def enter(self, phase: JobState) -> None:
        """Note that it waits, runs or is paused."""
        self._phase = phase
        if phase is JobState.RUNNING and not self._begun and self.ended is None:
            self._begun = True
            self._publish(JobEventKind.STARTED, None)

    def tell(self, progress: Progress) -> BaseException | None:
        """Note how far it is, and tell the caller; returns what the caller's function raised."""
        self._progress = progress
        if self.ended is None:
            self._publish(JobEventKind.PROGRESSED, progress)
        if self._on_progress is not None:
            try:
                self._on_progress(progress)
            # Somebody else's code: even its SystemExit must not reach Pykka, which would stop
            # every actor of the process.
            except BaseException as error:  # noqa: BLE001
                self._on_progress = None
                return error
        return None

    def succeed(self, result: object) -> None:
        """End with a result."""
        self._end(lambda: self.set_result(self._convert(result)))

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        self._end(lambda: self.set_exception(error))

    def end_cancelled(self) -> None:
        """End as cancelled, everything being undone."""

        def notify() -> None:
            super(Job, self).cancel()
            self.set_running_or_notify_cancel()

        self._end(notify)

    def _end(self, finish: Callable[[], object]) -> None:
        if self.done():  # a crashing pool and its worker may both end it: the first one counts
            return
        self.ended = time.time()  # from here on its leases count for nothing
        while self._at_end:
            try:
                self._at_end.pop()()
            except Exception as error:  # noqa: BLE001 - whatever it is, the job has to end
                log().error("what a job used could not be let go", job=self.id, exc_info=error)
        with suppress(concurrent.futures.InvalidStateError):
            finish()

    def tell_end_by(self, publish: Callable[[JobEvent], object]) -> None:
        """Have `publish` called with the event of its end, in place of who else would."""
        self._tell_end = publish

    def publish_end(self) -> None:
        """Have listeners know how it has ended."""
        if self.has_listeners:
            state, error = JobState.CANCELLED, None
            if not self.cancelled():
                error = self.exception()
                state = JobState.SUCCEEDED if error is None else JobState.FAILED
            self._tell_end(self._event(JobEventKind.ENDED, state, self._progress, error))
        self._tell_end = self.events.publish  # nothing is kept of the one before

    def _publish(self, kind: JobEventKind, progress: Progress | None) -> None:
        if self.has_listeners:
            self.events.publish(self._event(kind, self._phase, progress, None))

    def _event(
        self,
        kind: JobEventKind,
        state: JobState,
        progress: Progress | None,
        error: BaseException | None,
    ) -> JobEvent:
        what = (self.operation, self.pool, self.volume)
        return JobEvent(kind, self.id, *what, state, progress, error, time.time())


def _tell_end(job: concurrent.futures.Future[Any]) -> None:
    # No method of the job: it would have each job refer to itself.
    assert isinstance(job, Job)  # noqa: S101 - for the type checker
    job.publish_end()


def _must_not_block() -> bool:
    if isinstance(current_thread(), EngineThread):
        return True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
