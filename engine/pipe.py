"""A pipe: how bytes go from one thread to another one, no faster than they are taken."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Literal, NamedTuple, TypeAlias

from volary.engine.hole import Hole

_LEAST_COST = 4096
"""Bytes that the smallest chunk counts for, so that a pipe's limit bounds their number, too."""


class End(Enum):
    """What `Pipe.take` says after the last chunk."""

    END = "end"


END: Literal[End.END] = End.END


class PipeClosed(Exception):  # noqa: N818 - what it is, not what went wrong
    """The other side takes no more; its error, if it had one, is the cause.

    whole: whether it had taken everything.
    """

    def __init__(self, *, whole: bool) -> None:
        super().__init__()
        self.whole = whole


class PipeFailed(Exception):  # noqa: N818
    """The other side has no more to put: its error is the cause."""


class _Failed(NamedTuple):
    error: BaseException


class _Closed(NamedTuple):
    error: BaseException | None
    whole: bool


_Item: TypeAlias = bytes | Hole | End | _Failed


class Pipe:
    """Hands chunks from one producer to one consumer, each on a thread of its own.

    Two queues and no lock: one has the chunks, the other one the room that taking them made. So
    each number has one owner, and whoever waits sleeps until the other side does something.

    limit: bytes that may be on their way; a larger chunk goes through alone.
    on_item, on_room: called after something was put, and after something was taken or the
        consumer has gone, on the other side's thread: for an event loop, which may not wait.
    """

    LIMIT = 16 << 20
    """Two extents: one that is being written, and one that is being gathered."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.on_item: Callable[[], None] | None = None
        self.on_room: Callable[[], None] | None = None
        self._limit = limit
        self._items: SimpleQueue[_Item] = SimpleQueue()
        self._room: SimpleQueue[int | _Closed] = SimpleQueue()
        # The producer's:
        self._free = limit
        self._over: _Closed | None = None
        # The consumer's:
        self._last: End | _Failed | None = None
        self._closed = False

    # The producer's side.

    def put(self, chunk: bytes | Hole, timeout: float | None = None) -> bool:
        """Hand over a chunk; say whether there was room for it within `timeout` seconds.

        Raises `PipeClosed` when nobody will take it.
        """
        cost = min(_cost(chunk), self._limit)
        deadline = None if timeout is None else monotonic() + timeout
        self._look()
        while self._free < cost:
            if not self._wait(deadline):
                return False
        self._free -= cost
        self._put(chunk)
        return True

    def end(self) -> None:
        """Say that there is no more."""
        self._put(END)

    def fail(self, error: BaseException) -> None:
        """Say that there is no more because of an error."""
        self._put(_Failed(error))

    def taken(self, timeout: float | None = None) -> bool:
        """After `end`: say whether the consumer has taken everything and closed its side.

        Waits at most `timeout` seconds; raises `PipeClosed` when it closed it before the end, or
        with an error.
        """
        deadline = None if timeout is None else monotonic() + timeout
        try:
            while self._wait(deadline):
                pass
        except PipeClosed as closed:
            if closed.whole:
                return True
            raise
        return False

    def _put(self, item: _Item) -> None:
        self._items.put(item)
        if self.on_item is not None:
            self.on_item()

    def _look(self) -> None:
        """Take note of the room that was made meanwhile."""
        now = monotonic()
        while self._wait(now):
            pass

    def _wait(self, deadline: float | None) -> bool:
        """Wait until there is more room, and say whether there is by the deadline."""
        if self._over is not None:
            raise PipeClosed(whole=self._over.whole) from self._over.error
        try:
            timeout = None if deadline is None else max(0.0, deadline - monotonic())
            room = self._room.get(timeout=timeout)
        except Empty:
            return False
        if isinstance(room, _Closed):
            self._over = room
            raise PipeClosed(whole=room.whole) from room.error
        self._free += room
        return True

    @property
    def closed(self) -> bool:
        """Whether the consumer has gone."""
        return self._closed

    # The consumer's side.

    def take(self, timeout: float | None = None) -> bytes | Hole | End | None:
        """Return the next chunk, `END` after the last one, or None when none came in time.

        timeout: seconds to wait at most; None waits as long as it takes.
        Raises `PipeFailed` in place of the rest when the producer failed.
        """
        if self._last is None:
            try:
                item = self._items.get(timeout=timeout)
            except Empty:
                return None
            if not isinstance(item, End | _Failed):
                self._room.put(min(_cost(item), self._limit))
                if self.on_room is not None:
                    self.on_room()
                return item
            self._last = item
        if isinstance(self._last, _Failed):
            raise PipeFailed from self._last.error
        return self._last

    def close(self, error: BaseException | None = None) -> None:
        """Take no more: the producer hears of it at once. To do so twice is no mistake."""
        if not self._closed:
            self._closed = True
            self._room.put(_Closed(error, whole=error is None and self._last is END))
            if self.on_room is not None:
                self.on_room()


def _cost(chunk: bytes | Hole) -> int:
    return _LEAST_COST if isinstance(chunk, Hole) else max(len(chunk), _LEAST_COST)
