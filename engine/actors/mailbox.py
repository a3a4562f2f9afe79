"""An actor's inbox."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, NamedTuple


class Note(NamedTuple):
    """A message that the mailbox delivers of itself; nobody waits for an answer."""

    message: Any
    reply_to: None = None


class Mailbox:
    """Messages in order, and an alarm: a message that is delivered when its time comes.

    A worker that waits for its rate limit thus still reads its mail.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._alarm: tuple[float, Note] | None = None

    def put(self, envelope: Any, /) -> None:
        """Deliver a message."""
        self._queue.put(envelope)

    def get(self) -> Any:
        """Return the next message, or the alarm's if none comes before its time."""
        if self._alarm is None:
            return self._queue.get()
        when, note = self._alarm
        delay = when - monotonic()
        try:
            return self._queue.get_nowait() if delay <= 0 else self._queue.get(timeout=delay)
        except Empty:
            self._alarm = None
            return note

    def empty(self) -> bool:
        """Say whether no message waits."""
        return self._queue.empty()

    def set_alarm(self, when: float, message: Any) -> None:
        """Deliver `message` at `when` (monotonic seconds), after what has come by then."""
        self._alarm = (when, Note(message))

    def clear_alarm(self) -> None:
        """Deliver no alarm."""
        self._alarm = None
