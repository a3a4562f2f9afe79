"""Whether an engine can be used: open, closed, or left behind by a fork."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

from volary.engine.errors import ConnectionClosed


class Life:
    """What every way into an engine looks at before it sends a message that nobody might read."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._end: str | None = None
        self.forked = False
        """Whether this process is a fork of the engine's."""

    def check(self) -> None:
        """Raise `ConnectionClosed` unless the engine can be used here."""
        if self._end is not None:
            raise ConnectionClosed(self._end)

    @property
    def ended(self) -> bool:
        """Whether the engine cannot be used here any more."""
        return self._end is not None

    def end(self, reason: str) -> None:
        """Be over from now on; the first reason stays."""
        if self._end is None:
            self._end = reason

    def watch_forks(self, in_child: Callable[[], None]) -> None:
        """End in a process that is forked from this one, and call `in_child` there.

        A fork has the memory of the engine and none of its threads.
        """
        # A hook cannot be taken back: it must not keep the engine alive, nor act for a dead one.
        here = weakref.ref(self)
        there = weakref.WeakMethod(in_child)

        def forked() -> None:
            life, call = here(), there()
            if life is None or life.ended:
                return
            life.forked = True
            life.end(
                f"the connection belongs to process {life._pid}, from which this one, "  # noqa: SLF001
                f"{os.getpid()}, was forked without its threads; open one here"
            )
            if call is not None:
                call()

        os.register_at_fork(after_in_child=forked)
