"""What all our actors share."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

import pykka

from volary.engine.actors.threads import Threads


class Mailbox:
    """An actor's inbox with an alarm: when the alarm's time comes, it delivers a message.

    A worker that waits for its rate limit thus still reads its mail.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._alarm: tuple[float, Any] | None = None

    def put(self, envelope: Any, /) -> None:
        """Deliver a message."""
        self._queue.put(envelope)

    def get(self) -> Any:
        """Return the next message, or the alarm's if none comes before its time."""
        if self._alarm is None:
            return self._queue.get()
        when, envelope = self._alarm
        delay = when - monotonic()
        try:
            if delay <= 0:
                return self._queue.get_nowait()
            return self._queue.get(timeout=delay)
        except Empty:
            self._alarm = None
            return envelope

    def empty(self) -> bool:
        """Say whether no message waits."""
        return self._queue.empty()

    def set_alarm(self, when: float, envelope: Any) -> None:
        """Deliver `envelope` at `when` (monotonic seconds), after what has come by then."""
        self._alarm = (when, envelope)

    def clear_alarm(self) -> None:
        """Deliver no alarm."""
        self._alarm = None


class Actor(pykka.ThreadingActor):
    """An actor on one of its engine's threads."""

    actor_inbox: Mailbox

    def __init__(self, threads: Threads) -> None:
        super().__init__()
        self._threads = threads

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    def _start_actor_loop(self) -> None:
        self._threads.run(self._actor_loop)
