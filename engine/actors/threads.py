"""Threads that actors run on, kept and used again."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

from volary.engine.errors import InternalFailure

_Call: TypeAlias = Callable[[], None]


class EngineThread(threading.Thread):
    """A thread that actors run on: one that must not wait for another actor's work."""


class Threads:
    """The threads of one engine.

    Starting a thread takes longer than creating a sparse volume, so that a thread whose actor
    has ended waits here for the next one. There is no lock: `list.append` and `list.pop` are
    atomic, and each thread has a queue of its own.
    """

    KEPT = 32
    """Idle threads that wait for the next actor; more than these end."""

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[_Call | None]] = []
        self._all: set[threading.Thread] = set()
        self._ended: deque[threading.Thread] = deque()
        self._numbers = itertools.count(1)
        self._closed = False

    def run(self, call: _Call) -> None:
        """Run `call` on a thread of its own; raises `InternalFailure` when there is none."""
        try:
            calls = self._idle.pop()
        except IndexError:
            self._reap()
            calls = SimpleQueue()
            # Daemons: a host that forgets to close its connection must be able to exit. What is
            # half made then has no name, as after a crash.
            thread = EngineThread(
                target=self._loop, args=(calls,), name=f"volary-{next(self._numbers)}", daemon=True
            )
            calls.put(call)
            try:
                thread.start()
            except RuntimeError as error:  # the system's or a container's bound on threads
                raise InternalFailure(f"no thread could be started: {error}") from error
            self._all.add(thread)
            if not thread.is_alive():  # it was reaped before it was on the list
                self._all.discard(thread)
        else:
            calls.put(call)

    def _loop(self, calls: SimpleQueue[_Call | None]) -> None:
        while (call := calls.get()) is not None:
            call()
            del call  # an idle thread keeps nothing alive
            if len(self._idle) >= self.KEPT:
                break
            self._idle.append(calls)
            if self._closed:  # close() may have emptied the list before we came
                break
        self._ended.append(threading.current_thread())

    def _reap(self) -> None:
        """Forget threads that have ended: not before, or a close would not wait for the end."""
        while self._ended:
            try:
                thread = self._ended.popleft()
            except IndexError:  # somebody else took it
                return
            thread.join()
            self._all.discard(thread)

    def settle(self, call: _Call) -> None:
        """Run `call`, which ends a job, on a thread of its own: what a job's callbacks do must not
        be an actor's worry. Where there is no thread to be had, run it here all the same.
        """
        try:
            self.run(call)
        except InternalFailure:
            call()

    def close(self, *, wait: bool) -> None:
        """End the idle threads, and wait for the rest, whose actors were stopped before."""
        self._closed = True
        while self._idle:
            self._idle.pop().put(None)
        # A thread that is waited for may have just started another: look until none is left.
        while wait and (others := self._all - {threading.current_thread()}):
            for thread in others:
                thread.join()
                self._all.discard(thread)
