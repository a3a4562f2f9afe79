"""Who is told, on which thread, and until when."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator
from uuid import UUID

import pykka
import pytest

from volary import ConnectionClosed, InternalFailure, PoolSpec
from volary.engine.actors import events as module
from volary.engine.actors.ending import announce_through
from volary.engine.actors.events import Announcement, Events
from volary.engine.actors.messages import Announce
from volary.engine.actors.threads import EngineThread
from volary.engine.event import Event, PoolEvent, PoolEventKind, VolumeEventKind
from volary.engine.outbox import Outbox
from volary.engine.pipe import END

_SPEC = PoolSpec("p", target="/p", uuid=UUID(int=1))


def kinds(told: list[Event]) -> list[object]:
    return [event.kind for event in told]


@pytest.fixture
def events() -> Iterator[Events]:
    events = Events()
    yield events
    events.close(wait=True)


def test_everybody_who_listens_is_told(events: Events) -> None:
    first, second = Outbox(10), Outbox(10)
    events.join(first, None)
    events.join(second, None)
    events.of_pool(PoolEventKind.STARTED, _SPEC)
    event = first.take()
    assert isinstance(event, PoolEvent)
    assert (event.kind, event.name, event.uuid) == (PoolEventKind.STARTED, "p", UUID(int=1))
    assert second.take() is event


def test_who_has_left_is_told_nothing(events: Events) -> None:
    outbox = Outbox(10)
    events.join(outbox, None)
    events.leave(outbox)
    events.leave(outbox)
    assert events.listeners == []
    events.of_pool(PoolEventKind.STARTED, _SPEC)
    assert outbox.take() is None


def test_one_that_was_closed_is_taken_off_with_the_next_event(events: Events) -> None:
    outbox = Outbox(10)
    events.join(outbox, None)
    outbox.close()
    events.of_volume(VolumeEventKind.CREATED, _SPEC, "v")
    assert events.listeners == []


def test_listeners_that_come_and_go_on_many_threads_leave_the_right_ones(events: Events) -> None:
    stay = [Outbox(10) for _ in range(4)]

    def come_and_go(outbox: Outbox) -> None:
        for _ in range(300):
            other = Outbox(10)
            events.join(other, None)
            events.leave(other)
        events.join(outbox, None)

    threads = [threading.Thread(target=come_and_go, args=(outbox,)) for outbox in stay]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert set(events.listeners) == set(stay)


def test_a_callback_is_called_in_order_on_one_thread_in_its_callers_context(
    events: Events,
) -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request")
    request.set("r-17")
    told: list[tuple[object, str, threading.Thread]] = []
    events.join(
        Outbox(10), lambda e: told.append((e.kind, request.get(), threading.current_thread()))
    )
    events.of_pool(PoolEventKind.STARTED, _SPEC)
    events.of_pool(PoolEventKind.STOPPED, _SPEC)
    events.close(wait=True)
    (started, _, thread), stopped = told
    assert started is PoolEventKind.STARTED
    assert stopped == (PoolEventKind.STOPPED, "r-17", thread)
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_callback_that_raises_is_logged_and_hears_the_rest(
    events: Events, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Event] = []

    def callback(event: Event) -> None:
        told.append(event)
        if event.kind is PoolEventKind.STARTED:
            raise error("a defect of the host's")

    events.join(Outbox(10), callback)
    events.of_pool(PoolEventKind.STARTED, _SPEC)
    events.of_pool(PoolEventKind.STOPPED, _SPEC)
    with caplog.at_level(logging.ERROR, logger="volary"):
        events.close(wait=True)
    assert kinds(told) == [PoolEventKind.STARTED, PoolEventKind.STOPPED]
    assert len([r for r in caplog.records if "callback for events raised" in r.getMessage()]) == 1


def test_a_close_waits_until_callbacks_have_heard_everything(events: Events) -> None:
    told: list[Event] = []
    go_on = threading.Event()

    def callback(event: Event) -> None:
        go_on.wait(20)
        told.append(event)

    events.join(Outbox(100), callback)
    for _ in range(50):
        events.of_pool(PoolEventKind.REFRESHED, _SPEC)
    threading.Timer(0.01, go_on.set).start()
    events.close(wait=True)
    assert len(told) == 50


def test_a_callback_that_is_stuck_holds_a_close_up_for_a_while_only(
    events: Events, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    events.join(Outbox(10), lambda _: go_on.wait(20))
    events.of_pool(PoolEventKind.STARTED, _SPEC)
    monkeypatch.setattr(module, "_PATIENCE", 0.01)
    try:
        with caplog.at_level(logging.WARNING, logger="volary"):
            events.close(wait=True)
        assert "goes on after the close" in caplog.text
    finally:
        go_on.set()


def test_nobody_can_listen_when_it_is_closed(events: Events) -> None:
    outbox = Outbox(10)
    events.join(outbox, None)
    events.close(wait=True)
    assert outbox.wait() is END
    with pytest.raises(ConnectionClosed):
        events.join(Outbox(10), None)


def test_where_no_thread_can_be_started_nobody_listens(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(EngineThread, "start", start)
        with pytest.raises(InternalFailure, match="no thread"):
            events.join(Outbox(10), lambda _: None)
    assert events.listeners == []


class _Silent(pykka.ThreadingActor):
    """Reads nothing that it is sent until it may."""

    def __init__(self, may_read: threading.Event) -> None:
        super().__init__()
        self._may_read = may_read

    def on_receive(self, message: object) -> None:
        self._may_read.wait(20)
        if isinstance(message, Announce):
            message.announcement.publish()


def told_of(outbox: Outbox) -> int:
    return sum(1 for _ in iter(outbox.take, None))


def test_an_announcement_waits_for_its_turn_and_is_published_once(events: Events) -> None:
    outbox, may_read = Outbox(10), threading.Event()
    events.join(outbox, None)
    announcement = Announcement(events, (PoolEvent(PoolEventKind.STARTED, "p", UUID(int=1), 0.0),))
    actor = _Silent.start(may_read)
    announce_through(actor, announcement)
    assert told_of(outbox) == 0
    may_read.set()
    actor.stop()
    announcement.publish()
    assert told_of(outbox) == 1


def test_what_nobody_is_there_to_announce_is_published_all_the_same(events: Events) -> None:
    outbox = Outbox(10)
    events.join(outbox, None)
    actor = _Silent.start(threading.Event())
    actor.stop()
    event = PoolEvent(PoolEventKind.STARTED, "p", UUID(int=1), 0.0)
    announce_through(actor, Announcement(events, (event,)))
    assert told_of(outbox) == 1
