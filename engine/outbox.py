"""An outbox: the events that wait for one listener."""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import length_hint
from queue import SimpleQueue
from typing import TypeAlias

from volary.engine.event import Event, EventKind, JobEvent, JobEventKind
from volary.engine.pipe import END, End

Wake: TypeAlias = Callable[[], bool]
"""Wakes somebody who waits; says whether anybody still did."""


class _Tally:
    """Counts on any thread: to take the next of a range is one step for the interpreter, which
    `+=` is not.
    """

    def __init__(self) -> None:
        self._left = iter(range(sys.maxsize))

    def count(self) -> None:
        next(self._left)

    @property
    def counted(self) -> int:
        return sys.maxsize - length_hint(self._left)


class Outbox:
    """Takes events on any thread, and hands them out in order to whoever listens, at his pace.

    Who puts an event in never waits for the listener, who may be slow, stuck or gone, and there
    is no lock. Every step below is one operation of a deque or an OrderedDict, which the
    interpreter does as a whole; what another thread may do between two of them does no harm.

    At most `limit` events wait. Of each job only the newest progress does, and behind the rest:
    so it never comes before its job's start, and the job's end, when it is put in, takes it out.
    When there are too many, the oldest progress is let go; only if there is none, the oldest
    event, which is counted as lost.

    limit: how many may wait.
    kinds: those that are wanted; None for all.
    """

    def __init__(self, limit: int, kinds: frozenset[EventKind] | None = None) -> None:
        self._limit = limit
        self._kinds = kinds
        self._events: deque[Event] = deque()
        self._progress: OrderedDict[int, JobEvent] = OrderedDict()
        self._sleepers: deque[Wake] = deque()
        self._lost = _Tally()
        self._ended = False
        self._closed = False

    @property
    def lost(self) -> int:
        """How many events were dropped because too many waited; no progress is counted."""
        return self._lost.counted

    # The engine's side.

    def put(self, event: Event) -> bool:
        """Have an event wait for the listener; say whether there still is one."""
        if self._closed:
            return False
        if self._kinds is not None and event.kind not in self._kinds:
            return True
        if isinstance(event, JobEvent) and event.kind is JobEventKind.PROGRESSED:
            self._progress[event.job_id] = event
        else:
            if isinstance(event, JobEvent):
                self._progress.pop(event.job_id, None)
            self._events.append(event)
        while len(self._events) + len(self._progress) > self._limit:
            self._drop()
        if self._sleepers:
            self._wake()
        return True

    def _drop(self) -> None:
        try:
            self._progress.popitem(last=False)
        except KeyError:
            try:
                self._events.popleft()
            except IndexError:  # the listener was faster
                return
            self._lost.count()

    def end(self) -> None:
        """Say that there are no more events; those that wait are still handed out."""
        self._ended = True
        self._wake_all()

    def forget(self) -> None:
        """Be closed in a fork, where nobody puts events in, and whoever waits is not."""
        self._sleepers.clear()
        self.close()

    # The listener's side.

    def take(self) -> Event | End | None:
        """Return the next event, None when none waits, or `END` when none will any more."""
        ended = self._ended  # before the look: what comes after that is found by the next one
        if self._closed:
            return END
        try:
            return self._events.popleft()
        except IndexError:
            pass
        try:
            _, progress = self._progress.popitem(last=False)
        except KeyError:
            return END if ended else None
        # What came between the two looks may be the start of the progress's job. It goes first,
        # and this is let go: there will be a newer one, or the end, which says it, too.
        return self.take() if self._events else progress

    def wait(self) -> Event | End:
        """Return the next event, as soon as there is one, or `END`."""
        while (event := self.take()) is None:
            bell: SimpleQueue[None] = SimpleQueue()
            with self.waking(_ringing(bell)):
                bell.get()
        return event

    @contextmanager
    def waking(self, wake: Wake) -> Iterator[None]:
        """Have `wake` called, once and on any thread, when `take` may say more than None; it must
        neither wait nor raise.
        """
        self._sleepers.append(wake)
        try:
            if self._any_wait() or self._ended:  # since before it was on the list
                wake()
            yield
        finally:
            try:
                self._sleepers.remove(wake)
            except ValueError:
                # It was called, and may have been given up at the same time: another one's turn.
                if self._any_wait():
                    self._wake()

    def close(self) -> None:
        """Take and hand out nothing any more; twice is no mistake."""
        self._closed = True
        self._events.clear()
        self._progress.clear()
        self.end()

    def _any_wait(self) -> bool:
        return bool(self._events or self._progress)

    def _wake(self) -> bool:
        """Wake one who waits; say whether there was one."""
        while True:
            try:
                wake = self._sleepers.popleft()
            except IndexError:
                return False
            if wake():
                return True

    def _wake_all(self) -> None:
        while self._wake():
            pass


def _ringing(bell: SimpleQueue[None]) -> Wake:
    def wake() -> bool:
        bell.put(None)
        return True

    return wake
