from __future__ import annotations

import threading
import time

import pytest

from volary.engine.actors.threads import EngineThread, Threads
from volary.engine.errors import InternalFailure


def engine_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if isinstance(thread, EngineThread)]


def test_a_thread_is_used_again() -> None:
    threads = Threads()
    seen = []
    for _ in range(5):
        done = threading.Event()

        def call(done: threading.Event = done) -> None:
            seen.append(threading.current_thread())
            done.set()

        threads.run(call)
        done.wait()
        deadline = time.monotonic() + 5
        while not threads._idle and time.monotonic() < deadline:
            time.sleep(0.001)
    threads.close(wait=True)
    assert len(set(seen)) == 1


def test_calls_at_the_same_time_have_threads_of_their_own() -> None:
    threads = Threads()
    meeting = threading.Barrier(5, timeout=5)

    def meet() -> None:
        meeting.wait()

    for _ in range(4):
        threads.run(meet)
    meeting.wait()
    threads.close(wait=True)


def test_closing_leaves_no_thread() -> None:
    threads = Threads()
    for _ in range(100):
        threads.run(lambda: None)
    threads.close(wait=True)
    assert engine_threads() == []


def test_a_thread_that_cannot_be_started_is_an_error_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads()
    settled = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(InternalFailure, match="can't start new thread"):
            threads.run(lambda: None)
        threads.settle(lambda: settled.append("here"))
    assert settled == ["here"]
    threads.close(wait=True)
