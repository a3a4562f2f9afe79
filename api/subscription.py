"""A subscription: how a program hears of what happens."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from volary.engine.actors.events import Callback, Events
from volary.engine.errors import InvalidSpec
from volary.engine.event import Event, EventKind, JobEventKind, PoolEventKind, VolumeEventKind
from volary.engine.outbox import Outbox
from volary.engine.pipe import End


class Subscription:
    """What happens to pools, volumes and jobs, as it happens: to be iterated over, also
    asynchronously, unless it calls a function.

    One that is iterated over in several threads or event loops at the same time hands each event
    to one of them; who wants them all has a subscription of his own.

    It ends with its connection, when what waits has been taken, or by `close`, which is also the
    end of a `with` or `async with` block.
    """

    def __init__(
        self, outbox: Outbox, leave: Callable[[Outbox], None], *, has_callback: bool
    ) -> None:
        """Begin.

        outbox: where the events come.
        leave: has no more of them put there.
        has_callback: whether a function is called with them.
        """
        self._outbox = outbox
        self._leave = leave
        self._has_callback = has_callback

    def __repr__(self) -> str:
        return f"<Subscription, {'with' if self._has_callback else 'without'} a callback>"

    @property
    def lost(self) -> int:
        """How many events were dropped because `limit` of them waited.

        Progress that gave way to newer progress, or to other events, is not counted.
        """
        return self._outbox.lost

    def close(self) -> None:
        """Hear of nothing any more: what waits is dropped, iterations end, and a function is not
        called again, though a call that has begun goes on. Twice is no mistake.
        """
        self._outbox.close()
        self._leave(self._outbox)

    def __iter__(self) -> Iterator[Event]:
        self._require_no_callback()
        return self

    def __next__(self) -> Event:
        event = self._outbox.wait()
        if isinstance(event, End):
            raise StopIteration
        return event

    def __aiter__(self) -> AsyncIterator[Event]:
        self._require_no_callback()
        return self

    async def __anext__(self) -> Event:
        while (event := self._outbox.take()) is None:
            woken, wake = _wake_running_loop()
            with self._outbox.waking(wake):
                await woken
        if isinstance(event, End):
            raise StopAsyncIteration
        return event

    def _require_no_callback(self) -> None:
        if self._has_callback:
            raise InvalidSpec(
                "this subscription calls a function with its events; "
                "subscribe without one to iterate over them"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Nobody can iterate over it any more. It may be in the middle of anything that it is
        # called, so that the next event takes it off the list. A function goes on being called.
        if not self._has_callback:
            self._outbox.close()


def subscribe(
    events: Events,
    callback: Callback | None,
    kinds: Iterable[EventKind] | None,
    limit: int,
) -> Subscription:
    """Have an engine's events kept from now on; the arguments are `Connection.subscribe`'s."""
    outbox = Outbox(_checked_limit(limit), _checked_kinds(kinds))
    if callback is not None:
        _check_callback(callback)
    events.join(outbox, callback)
    return Subscription(outbox, events.leave, has_callback=callback is not None)


def _wake_running_loop() -> tuple[asyncio.Future[None], Callable[[], bool]]:
    """Return a future, and what makes it done, on any thread."""
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def note() -> None:
        if not woken.done():
            woken.set_result(None)

    def wake() -> bool:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(note)
            return True
        return False

    return woken, wake


def _check_callback(callback: object) -> None:
    if not callable(callback):
        raise InvalidSpec(f"subscribe: {callback!r} cannot be called; give a function")
    if inspect.iscoroutinefunction(callback):
        raise InvalidSpec(
            f"subscribe: {callback!r} is a coroutine, which nobody would await; subscribe without "
            "a function, and use `async for`"
        )


def _checked_limit(limit: int) -> int:
    if type(limit) is not int or limit < 1:  # a bool is none, though Python has it so
        raise InvalidSpec(f"subscribe: limit {limit!r}; give a whole number, at least 1")
    return limit


def _checked_kinds(kinds: Iterable[EventKind] | None) -> frozenset[EventKind] | None:
    if kinds is None:
        return None
    try:
        wanted = frozenset(kinds)
    except TypeError:
        raise InvalidSpec(f"subscribe: kinds {kinds!r}; give a list of them") from None
    for kind in wanted:
        if not isinstance(kind, PoolEventKind | VolumeEventKind | JobEventKind):
            raise InvalidSpec(
                f"subscribe: {kind!r} is no kind of event; give those of volary.PoolEventKind, "
                "volary.VolumeEventKind and volary.JobEventKind"
            )
    return wanted
