"""Who is told of what happens in one engine."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from threading import Thread
from time import monotonic, time
from typing import TypeAlias
from uuid import UUID

from volary.engine.actors.threads import EngineThread
from volary.engine.errors import ConnectionClosed, InternalFailure
from volary.engine.event import (
    Event,
    PoolEvent,
    PoolEventKind,
    VolumeEvent,
    VolumeEventKind,
)
from volary.engine.log import log
from volary.engine.outbox import Outbox
from volary.engine.pipe import End
from volary.engine.pool_spec import PoolSpec

Callback: TypeAlias = Callable[[Event], object]

_PATIENCE = 5.0
"""Seconds that a close waits, in all, for callbacks to be through with what they were told."""


class Events:
    """Hands each event to everybody who listens; called on any thread, and never waits.

    listeners: never changed in place; empty when there is nothing to be told to anybody: the one
        thing that is looked at then.
    """

    def __init__(self) -> None:
        self.listeners: list[Outbox] = []
        self._outboxes: dict[Outbox, None] = {}
        self._callers: dict[Outbox, Thread] = {}
        self._closed = False

    # What happens.

    def publish(self, event: Event) -> None:
        """Tell everybody of an event that has happened."""
        for outbox in self.listeners:
            if not outbox.put(event):
                self.leave(outbox)

    def of_pool(self, kind: PoolEventKind, spec: PoolSpec) -> None:
        """Tell of a pool. Its actor does, so that what is told of it is in order."""
        if self.listeners:
            self.publish(PoolEvent(kind, spec.name, _uuid(spec), time()))

    def of_volume(self, kind: VolumeEventKind, spec: PoolSpec, name: str) -> None:
        """Tell of a volume of the pool, whose actor does this, too."""
        if self.listeners:
            self.publish(VolumeEvent(kind, spec.name, _uuid(spec), name, time()))

    # Who listens.

    def join(self, outbox: Outbox, callback: Callback | None) -> None:
        """Put events into an outbox from now on; and have `callback` called with each of them, one
        after the other, on a thread of its own and in the caller's context (contextvars).

        Raises `InternalFailure` when no thread can be started, and `ConnectionClosed`.
        """
        self._require_open()
        if callback is not None:
            self._callers[outbox] = self._start_caller(outbox, callback)
        self._outboxes[outbox] = None
        self._count_listeners()
        if self._closed:  # meanwhile
            outbox.end()

    def _start_caller(self, outbox: Outbox, callback: Callback) -> Thread:
        context = contextvars.copy_context()
        # A daemon, as those of `Threads`; and not among them, which a close waits for as long as
        # it takes.
        thread = EngineThread(
            target=context.run,
            args=(self._call, outbox, callback),
            name="volary-listener",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError as error:  # the system's or a container's bound on threads
            raise InternalFailure(f"no thread could be started: {error}") from error
        return thread

    def _call(self, outbox: Outbox, callback: Callback) -> None:
        """Call a listener's function with each event until there are no more."""
        while not isinstance(event := outbox.wait(), End):
            try:
                callback(event)
            # Somebody else's code. One event that it cannot cope with must not make it deaf to
            # the rest, which it would never notice.
            except BaseException as error:  # noqa: BLE001
                log().error("a callback for events raised", happened=event, exc_info=error)
        self._callers.pop(outbox, None)

    def _require_open(self) -> None:
        if self._closed:
            raise ConnectionClosed("the connection is closed; open a new one")

    def leave(self, outbox: Outbox) -> None:
        """Put no more events into an outbox."""
        self._outboxes.pop(outbox, None)
        self._count_listeners()

    def _count_listeners(self) -> None:
        # Of two threads that do this at the same time, the one that stores last looks once more.
        while self.listeners != (now := list(self._outboxes)):
            self.listeners = now

    # The end.

    def close(self, *, wait: bool) -> None:
        """Say that there are no more events, when nobody publishes any more; and wait a while
        until callbacks have been called with the last ones.
        """
        self._closed = True
        for outbox in self.listeners:
            outbox.end()
        until = monotonic() + _PATIENCE
        for thread in list(self._callers.values()) if wait else ():
            thread.join(max(0.0, until - monotonic()))
            if thread.is_alive():
                log().warning("a callback for events goes on after the close")

    def forget(self) -> None:
        """Be closed in a fork, which has none of the threads."""
        self._closed = True
        for outbox in self.listeners:
            outbox.forget()


class Announcement:
    """Events that are to be published once what was sent to an actor before has been: they are
    sent to it, too.
    """

    def __init__(self, events: Events, told: tuple[Event, ...]) -> None:
        self._events = events
        self._left = [told]

    def publish(self) -> None:
        """Publish them, unless that has been done."""
        try:
            told = self._left.pop()
        except IndexError:
            return
        for event in told:
            self._events.publish(event)


def _uuid(spec: PoolSpec) -> UUID:
    assert spec.uuid is not None  # noqa: S101 - the engine gave it one
    return spec.uuid
