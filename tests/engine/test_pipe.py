from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volary.engine.hole import Hole
from volary.engine.pipe import END, Pipe, PipeClosed, PipeFailed

T = TypeVar("T")
KIB = 1 << 10


def on_a_thread(call: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future


def full() -> Pipe:
    pipe = Pipe(8 * KIB)
    assert pipe.put(bytes(8 * KIB), 0)
    return pipe


def test_chunks_come_in_their_order_and_then_the_end() -> None:
    pipe = Pipe()
    pipe.put(b"one")
    pipe.put(Hole(5))
    pipe.put(b"two")
    pipe.end()
    assert [pipe.take(0) for _ in range(4)] == [b"one", Hole(5), b"two", END]


def test_the_end_stays_the_end() -> None:
    pipe = Pipe()
    pipe.end()
    assert pipe.take(0) is pipe.take(0) is END


def test_nothing_comes_out_of_an_empty_pipe() -> None:
    assert Pipe().take(0) is None
    assert Pipe().take(0.01) is None


def test_a_full_pipe_takes_nothing() -> None:
    pipe = full()
    assert not pipe.put(b"more", 0)
    assert not pipe.put(b"more", 0.01)
    assert pipe.take(0) == bytes(8 * KIB)
    assert pipe.take(0) is None


def test_what_is_taken_makes_room() -> None:
    pipe = full()
    pipe.take(0)
    assert pipe.put(b"more", 0)


def test_a_producer_waits_for_room() -> None:
    pipe = full()
    putting = on_a_thread(lambda: pipe.put(b"more"))
    assert pipe.take() == bytes(8 * KIB)
    assert pipe.take() == b"more"
    assert putting.result(10)


def test_a_consumer_waits_for_a_chunk() -> None:
    pipe = Pipe()
    taking = on_a_thread(pipe.take)
    pipe.put(b"one")
    assert taking.result(10) == b"one"


def test_a_chunk_above_the_limit_goes_through_alone() -> None:
    pipe = Pipe(8 * KIB)
    assert pipe.put(bytes(20 * KIB), 0)
    assert not pipe.put(b"more", 0)
    pipe.take(0)
    assert pipe.put(b"more", 0)
    assert not pipe.put(bytes(20 * KIB), 0)


def test_holes_and_small_chunks_are_bounded_in_number() -> None:
    pipe = Pipe(8 * KIB)
    assert pipe.put(Hole(1 << 60), 0)
    assert pipe.put(b"", 0)
    assert not pipe.put(b"", 0)


def test_a_producer_that_waits_hears_that_the_other_side_is_closed() -> None:
    pipe = full()
    putting = on_a_thread(lambda: pipe.put(b"more"))
    pipe.close()
    with pytest.raises(PipeClosed):
        putting.result(10)


def test_a_producer_hears_so_even_while_there_is_room() -> None:
    pipe = Pipe()
    pipe.close()
    for _ in range(2):
        with pytest.raises(PipeClosed):
            pipe.put(b"more", 0)


def test_the_consumers_error_is_the_cause() -> None:
    pipe = Pipe()
    error = OSError("the disk is gone")
    pipe.close(error)
    pipe.close()
    with pytest.raises(PipeClosed) as caught:
        pipe.put(b"more")
    assert caught.value.__cause__ is error


def test_a_failed_producers_chunks_come_before_its_error() -> None:
    pipe = Pipe()
    error = ValueError("no more")
    pipe.put(b"one")
    pipe.fail(error)
    assert pipe.take(0) == b"one"
    for _ in range(2):
        with pytest.raises(PipeFailed) as caught:
            pipe.take(0)
        assert caught.value.__cause__ is error


def test_it_is_taken_when_the_consumer_closed_it_after_the_end() -> None:
    pipe = Pipe()
    pipe.put(b"one")
    pipe.end()
    assert not pipe.taken(0)
    pipe.take(0)
    assert not pipe.taken(0.01)
    assert pipe.take(0) is END
    pipe.close()
    assert pipe.taken()


@pytest.mark.parametrize("error", [None, OSError("the disk is full")])
def test_it_is_not_taken_when_the_consumer_closed_it_before(error: OSError | None) -> None:
    pipe = Pipe()
    pipe.put(b"one")
    pipe.end()
    pipe.close(error)
    with pytest.raises(PipeClosed) as caught:
        pipe.taken()
    assert caught.value.__cause__ is error


def test_an_event_loop_is_told_of_items_and_of_room() -> None:
    pipe = Pipe()
    told: list[str] = []
    pipe.on_item = lambda: told.append("item")
    pipe.on_room = lambda: told.append("room")
    pipe.put(b"one")
    pipe.take()
    pipe.end()
    pipe.take()
    pipe.close()
    assert told == ["item", "room", "item", "room"]


@given(
    chunks=st.lists(st.binary(max_size=100) | st.builds(Hole, st.integers(0, 100))),
    limit=st.integers(1, 20 * KIB),
)
def test_between_two_threads_nothing_is_lost(chunks: list[bytes | Hole], limit: int) -> None:
    pipe = Pipe(limit)

    def produce() -> None:
        for chunk in chunks:
            pipe.put(chunk)
        pipe.end()

    producing = on_a_thread(produce)
    got = []
    while (chunk := pipe.take(10)) is not END:
        got.append(chunk)
    assert got == chunks
    assert producing.result(10) is None
