from __future__ import annotations

from time import monotonic

from volary.engine.actors.mailbox import Mailbox, Note


def test_messages_come_in_order() -> None:
    box = Mailbox()
    box.put("first")
    box.put("second")
    assert [box.get(), box.get(), box.empty()] == ["first", "second", True]


def test_an_alarm_comes_when_no_message_does() -> None:
    box = Mailbox()
    began = monotonic()
    box.set_alarm(began + 0.02, "wake")
    assert box.get() == Note("wake")
    assert monotonic() - began >= 0.02


def test_a_message_comes_before_an_alarm_that_is_due() -> None:
    box = Mailbox()
    box.set_alarm(0.0, "wake")
    box.put("message")
    assert box.get() == "message"
    assert box.get() == Note("wake")


def test_a_cleared_alarm_does_not_come() -> None:
    box = Mailbox()
    box.set_alarm(0.0, "wake")
    box.clear_alarm()
    box.put("message")
    assert box.get() == "message"
    assert box.empty()
