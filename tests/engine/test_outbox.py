"""What waits for a listener, in which order, and what is let go when it is too much."""

from __future__ import annotations

import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from uuid import UUID

import pytest

from volary.engine.event import (
    Event,
    JobEvent,
    JobEventKind,
    PoolEvent,
    PoolEventKind,
    VolumeEvent,
    VolumeEventKind,
)
from volary.engine.job_state import JobState
from volary.engine.outbox import Outbox
from volary.engine.pipe import END, End
from volary.engine.progress import Progress

_UUID = UUID(int=1)


def job(kind: JobEventKind, job_id: int = 1, done: int = 0) -> JobEvent:
    progress = None if kind is JobEventKind.STARTED else Progress(done, 100)
    state = JobState.SUCCEEDED if kind is JobEventKind.ENDED else JobState.RUNNING
    return JobEvent(kind, job_id, "create volume", "p", "v", state, progress, None, 0.0)


def started(job_id: int = 1) -> JobEvent:
    return job(JobEventKind.STARTED, job_id)


def progressed(job_id: int = 1, done: int = 0) -> JobEvent:
    return job(JobEventKind.PROGRESSED, job_id, done)


def ended(job_id: int = 1) -> JobEvent:
    return job(JobEventKind.ENDED, job_id, 100)


def volume(name: str) -> VolumeEvent:
    return VolumeEvent(VolumeEventKind.CREATED, "p", _UUID, name, 0.0)


def all_of(outbox: Outbox) -> list[Event]:
    found: list[Event] = []
    while (event := outbox.take()) is not None:
        assert not isinstance(event, End)
        found.append(event)
    return found


@pytest.fixture
def restless() -> Iterator[None]:
    """Have threads take turns as often as the interpreter can, and not every 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_events_are_handed_out_in_the_order_in_which_they_came() -> None:
    outbox = Outbox(10)
    events: list[Event] = [started(), volume("v"), ended()]
    for event in events:
        outbox.put(event)
    assert all_of(outbox) == events


def test_of_a_jobs_progress_only_the_newest_waits() -> None:
    outbox = Outbox(10)
    for done in range(5):
        outbox.put(progressed(1, done))
        outbox.put(progressed(2, done))
    assert all_of(outbox) == [progressed(1, 4), progressed(2, 4)]
    assert outbox.lost == 0


def test_progress_comes_after_its_jobs_start_and_never_after_its_end() -> None:
    outbox = Outbox(10)
    outbox.put(started())
    outbox.put(progressed(done=50))
    outbox.put(volume("another"))
    assert all_of(outbox) == [started(), volume("another"), progressed(done=50)]
    outbox.put(progressed(done=60))
    outbox.put(ended())
    assert all_of(outbox) == [ended()]


def test_progress_that_comes_while_the_listener_looks_does_not_overtake_its_start() -> None:
    outbox = Outbox(10)

    class Meanwhile(OrderedDict[int, JobEvent]):
        def popitem(self, last: bool = True) -> tuple[int, JobEvent]:
            if outbox._progress is self:
                outbox._progress = OrderedDict()
                self[1] = progressed()
                outbox.put(started())
            return super().popitem(last)

    outbox._progress = Meanwhile()
    assert outbox.take() == started()


def test_what_is_too_much_costs_progress_first_the_oldest_of_it() -> None:
    outbox = Outbox(3)
    for job_id in (1, 2, 3):
        outbox.put(progressed(job_id))
    outbox.put(ended(7))
    outbox.put(ended(8))
    assert all_of(outbox) == [ended(7), ended(8), progressed(3)]
    assert outbox.lost == 0


def test_where_there_is_no_progress_the_oldest_event_is_lost_and_counted() -> None:
    outbox = Outbox(3)
    for number in range(8):
        outbox.put(volume(f"v{number}"))
    outbox.put(progressed())
    assert all_of(outbox) == [volume("v5"), volume("v6"), volume("v7")]
    assert outbox.lost == 5


def test_only_the_kinds_that_are_wanted_wait() -> None:
    outbox = Outbox(10, frozenset({PoolEventKind.STOPPED, JobEventKind.ENDED}))
    stopped = PoolEvent(PoolEventKind.STOPPED, "p", _UUID, 0.0)
    events: list[Event] = [started(), progressed(), volume("v"), stopped, ended()]
    for event in events:
        assert outbox.put(event)
    assert all_of(outbox) == [stopped, ended()]


def test_one_that_has_ended_hands_out_what_waits_and_says_so_then() -> None:
    outbox = Outbox(10)
    outbox.put(volume("v"))
    outbox.put(progressed())
    outbox.end()
    assert [outbox.wait() for _ in range(4)] == [volume("v"), progressed(), END, END]


def test_one_that_is_closed_hands_out_nothing_and_takes_nothing() -> None:
    outbox = Outbox(10)
    outbox.put(volume("v"))
    outbox.close()
    assert not outbox.put(volume("w"))
    assert outbox.wait() is END
    outbox.close()


def test_who_waits_is_woken_by_an_event_and_by_the_end() -> None:
    outbox = Outbox(10)
    taken: list[Event | End] = []
    thread = threading.Thread(target=lambda: taken.extend((outbox.wait(), outbox.wait())))
    thread.start()
    outbox.put(volume("v"))
    outbox.end()
    thread.join(20)
    assert taken == [volume("v"), END]


class Sleeper:
    """Somebody who waits, and who may have gone when he is called."""

    def __init__(self, *, there: bool = True) -> None:
        self.there, self.calls = there, 0

    def wake(self) -> bool:
        self.calls += 1
        return self.there


def test_one_who_waits_is_woken_for_an_event_and_not_one_who_has_gone() -> None:
    outbox = Outbox(10)
    gone, first, second = Sleeper(there=False), Sleeper(), Sleeper()
    with outbox.waking(gone.wake), outbox.waking(first.wake), outbox.waking(second.wake):
        outbox.put(volume("v"))
        assert (gone.calls, first.calls, second.calls) == (1, 1, 0)
        outbox.take()


def test_who_gives_up_waiting_leaves_the_event_to_another_one() -> None:
    outbox = Outbox(10)
    first, second = Sleeper(), Sleeper()
    with outbox.waking(second.wake):
        # Called before the second one, since it is the first on the list again.
        with outbox.waking(first.wake):
            outbox._sleepers.rotate(1)
            outbox.put(volume("v"))
            assert (first.calls, second.calls) == (1, 0)
        assert second.calls == 1


def test_who_begins_to_wait_when_something_is_there_is_called_at_once() -> None:
    outbox = Outbox(10)
    outbox.put(volume("v"))
    late = Sleeper()
    with outbox.waking(late.wake):
        assert late.calls == 1


def test_nothing_is_lost_or_told_twice_among_many_threads(restless: None) -> None:
    publishers, listeners, each = 4, 3, 3000
    outbox = Outbox(publishers * each)
    taken: list[list[Event]] = [[] for _ in range(listeners)]

    def publish(number: int) -> None:
        for count in range(each):
            outbox.put(volume(f"{number}-{count:05}"))

    def listen(mine: list[Event]) -> None:
        while not isinstance(event := outbox.wait(), End):
            mine.append(event)

    readers = [threading.Thread(target=listen, args=(mine,)) for mine in taken]
    writers = [threading.Thread(target=publish, args=(number,)) for number in range(publishers)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join(20)
    outbox.end()
    for thread in readers:
        thread.join(20)
    counts = Counter(event for mine in taken for event in mine)
    assert set(counts.values()) == {1}
    assert len(counts) == publishers * each
    assert outbox.lost == 0
    for mine in taken:
        for number in range(publishers):
            names = [e.name for e in mine if isinstance(e, VolumeEvent)]
            from_one = [name for name in names if name.startswith(f"{number}-")]
            assert from_one == sorted(from_one)


def test_what_was_lost_is_counted_exactly_among_many_threads(restless: None) -> None:
    publishers, each, limit = 4, 3000, 7
    outbox = Outbox(limit)
    taken: list[Event] = []

    def publish() -> None:
        for count in range(each):
            outbox.put(volume(str(count)))
            outbox.put(progressed(count % 3, count))

    def listen() -> None:
        while not isinstance(event := outbox.wait(), End):
            taken.append(event)

    reader = threading.Thread(target=listen)
    writers = [threading.Thread(target=publish) for _ in range(publishers)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join(20)
    outbox.end()
    reader.join(20)
    volumes = [event for event in taken if isinstance(event, VolumeEvent)]
    assert len(volumes) + outbox.lost == publishers * each


def test_a_jobs_events_are_in_order_however_threads_take_turns(restless: None) -> None:
    jobs, outbox = 2000, Outbox(1 << 20)
    told: dict[int, list[JobEventKind]] = {}

    def publish(first: int) -> None:
        for job_id in range(first, first + jobs):
            outbox.put(started(job_id))
            for done in range(3):
                outbox.put(progressed(job_id, done))
            outbox.put(ended(job_id))

    def listen() -> None:
        while not isinstance(event := outbox.wait(), End):
            assert isinstance(event, JobEvent)
            told.setdefault(event.job_id, []).append(event.kind)

    reader = threading.Thread(target=listen)
    writers = [threading.Thread(target=publish, args=(n * jobs,)) for n in range(3)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join(20)
    outbox.end()
    reader.join(20)
    assert len(told) == 3 * jobs
    for kinds in told.values():
        assert (kinds[0], kinds[-1]) == (JobEventKind.STARTED, JobEventKind.ENDED)
        assert set(kinds[1:-1]) <= {JobEventKind.PROGRESSED}
