"""Whether an engine can be used: open, closing, closed, or left behind by a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from weakref import WeakSet

from volary.engine.errors import ConnectionClosed


class Life:
    """What every way into an engine looks at before it sends a message that nobody might read."""

    def __init__(self, in_fork: Callable[[], None]) -> None:
        """Begin; `in_fork` is called in a process that is forked from this one."""
        self._pid = os.getpid()
        self._in_fork = in_fork
        self._closing: str | None = None
        self._end: str | None = None
        self.forked = False
        """Whether this process is a fork of the engine's."""
        _lives.add(self)

    def check(self) -> None:
        """Raise `ConnectionClosed` unless the engine takes calls here."""
        reason = self._end or self._closing
        if reason is not None:
            raise ConnectionClosed(reason)

    def check_jobs(self) -> None:
        """Raise `ConnectionClosed` when nobody will end a job that has not ended yet."""
        if self._end is not None:
            raise ConnectionClosed(self._end)

    def close(self, reason: str) -> None:
        """Take no more calls; jobs still end."""
        self._closing = reason

    def end(self, reason: str) -> None:
        """Be over from now on; the first reason stays."""
        if self._end is None:
            self._end = reason

    @property
    def ended(self) -> bool:
        """Whether nothing of the engine is left here."""
        return self._end is not None

    def leave_behind(self) -> None:
        """Be over in a fork, which has the memory of the engine and none of its threads."""
        if self.ended:
            return
        self.forked = True
        self.end(
            f"the connection belongs to process {self._pid}, from which this one, "
            f"{os.getpid()}, was forked without its threads; open one here"
        )
        self._in_fork()


_lives: WeakSet[Life] = WeakSet()


def _leave_all_behind() -> None:
    for life in list(_lives):
        life.leave_behind()


os.register_at_fork(after_in_child=_leave_all_behind)
