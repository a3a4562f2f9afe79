"""What a subscription is told of, when, and what a slow listener costs."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.system.half_way import TALKATIVE, stopped_half_way

import volary
from volary import (
    ASYNC,
    Event,
    JobEvent,
    JobEventKind,
    JobState,
    PoolEvent,
    PoolEventKind,
    PoolSpec,
    PoolStart,
    Subscription,
    VolumeEvent,
    VolumeEventKind,
    VolumeSpec,
)

MIB = 1 << 20
_LONG = 32 * MIB

STARTED, PROGRESSED, ENDED = JobEventKind
CREATED, RESIZED, DELETED = VolumeEventKind


def sparse(name: str) -> VolumeSpec:
    return VolumeSpec(name, capacity=MIB)


def long(name: str = "long") -> VolumeSpec:
    return VolumeSpec(name, capacity=_LONG, preallocation="full")


def until_end(events: Iterable[Event], job: volary.Job[Any]) -> list[Event]:
    """Return what is told up to the end of a job."""
    told = []
    for event in events:
        told.append(event)
        if isinstance(event, JobEvent) and event.kind is ENDED and event.job_id == job.id:
            break
    return told


def kinds(told: Iterable[Event]) -> list[object]:
    return [event.kind for event in told]


@pytest.fixture
def talkative(tmp_path: Path) -> Iterator[volary.Connection]:
    """An engine that tells every extent."""
    with volary.open(state_dir=tmp_path / "talkative", settings=TALKATIVE) as conn:
        yield conn


@pytest.fixture
def images(talkative: volary.Connection, tmp_path: Path) -> volary.Pool:
    """A pool of the engine that tells every extent."""
    return talkative.create_pool(PoolSpec("images", target=tmp_path / "images"), PoolStart.BUILD)


# What is told.


def test_a_pools_life_is_told_as_libvirt_tells_it(conn: volary.Connection, tmp_path: Path) -> None:
    with conn.subscribe(kinds=PoolEventKind) as events:
        spec = PoolSpec("p", target=tmp_path / "p")
        pool = conn.define_pool(spec)
        pool.build()
        pool.start()
        pool.refresh()
        pool.stop()
        pool.delete()
        pool.undefine()
        conn.create_pool(PoolSpec("t", target=tmp_path / "t"), PoolStart.BUILD).stop()
        conn.close()
        told = list(events)
    assert [(event.kind.name, event.name) for event in told if isinstance(event, PoolEvent)] == [
        *[(kind, "p") for kind in ("DEFINED", "CREATED", "STARTED", "REFRESHED")],
        *[(kind, "p") for kind in ("STOPPED", "DELETED", "UNDEFINED")],
        *[(kind, "t") for kind in ("STARTED", "STOPPED")],
    ]


def test_a_volumes_life_is_told(conn: volary.Connection, pool: volary.Pool) -> None:
    with conn.subscribe(kinds=VolumeEventKind) as events:
        volume = pool.create_volume(sparse("a"))
        key = volume.key
        pool.clone_volume(volume, VolumeSpec("b"))
        volume.resize(2 * MIB)
        volume.upload([b"x"])
        volume.wipe()
        volume.delete()
        conn.close()
        told = list(events)
    assert [(event.kind, event.name) for event in told if isinstance(event, VolumeEvent)] == [
        *[(CREATED, "a"), (CREATED, "b"), (RESIZED, "a"), (DELETED, "a")],
    ]
    first = told[0]
    assert isinstance(first, VolumeEvent)
    assert (first.pool, first.pool_uuid, first.key) == ("images", pool.uuid, key)


@pytest.mark.parametrize("spec", [sparse("a"), long("a")], ids=["sparse", "allocated"])
def test_a_volume_is_told_of_between_its_jobs_start_and_end(
    conn: volary.Connection, pool: volary.Pool, spec: VolumeSpec
) -> None:
    with conn.subscribe(kinds=[STARTED, ENDED, *VolumeEventKind]) as events:
        creation = pool.create_volume(spec, ASYNC)
        assert kinds(until_end(events, creation)) == [STARTED, CREATED, ENDED]
        deletion = pool.volume("a").delete(ASYNC)
        assert kinds(until_end(events, deletion)) == [STARTED, DELETED, ENDED]


def test_a_jobs_events_say_what_it_does_and_how_far_it_is(
    talkative: volary.Connection, images: volary.Pool
) -> None:
    with talkative.subscribe() as events:
        job = images.create_volume(long(), ASYNC)
        told = [event for event in until_end(events, job) if isinstance(event, JobEvent)]
    first, *between, last = told
    for event in told:
        assert (event.job_id, event.operation) == (job.id, "create volume")
        assert (event.pool, event.volume) == ("images", "long")
    assert (first.kind, first.state, first.progress) == (STARTED, JobState.RUNNING, None)
    done = [event.progress.done for event in between if event.progress is not None]
    assert done == sorted(done)
    assert {event.kind for event in between} <= {PROGRESSED}
    assert (last.kind, last.state, last.error) == (ENDED, JobState.SUCCEEDED, None)
    assert last.progress == job.progress()
    assert first.time <= last.time


def test_a_job_that_fails_is_told_with_its_error(
    conn: volary.Connection, pool: volary.Pool, target: Path
) -> None:
    with conn.subscribe() as events:
        target.chmod(0o700)
        (target / "a").mkdir()
        job = pool.create_volume(sparse("a"), ASYNC)
        *_, last = until_end(events, job)
    assert isinstance(last, JobEvent)
    assert last.state is JobState.FAILED
    assert last.error is job.exception()


def test_a_job_that_is_cancelled_is_told_so_with_how_far_it_was(
    talkative: volary.Connection, images: volary.Pool
) -> None:
    with talkative.subscribe(kinds=[ENDED, *VolumeEventKind]) as events:
        job = stopped_half_way(
            images,
            lambda on_progress: images.create_volume(long(), ASYNC, on_progress=on_progress),
        )
        job.cancel()
        (last,) = until_end(events, job)
    assert isinstance(last, JobEvent)
    assert (last.state, last.error) == (JobState.CANCELLED, None)
    assert last.progress is not None
    assert 0 < last.progress.done < _LONG


def test_a_job_that_is_refused_ends_without_a_start(
    conn: volary.Connection, pool: volary.Pool
) -> None:
    with conn.subscribe(kinds=JobEventKind) as events:
        until_end(events, pool.create_volume(sparse("a"), ASYNC))
        (only,) = until_end(events, pool.create_volume(sparse("a"), ASYNC))
    assert isinstance(only, JobEvent)
    assert isinstance(only.error, volary.VolumeExists)


def test_a_job_that_is_resumed_does_not_start_twice(
    talkative: volary.Connection, images: volary.Pool
) -> None:
    with talkative.subscribe(kinds=[STARTED, ENDED]) as events:
        job = stopped_half_way(
            images,
            lambda on_progress: images.create_volume(long(), ASYNC, on_progress=on_progress),
        )
        job.resume()
        assert kinds(until_end(events, job)) == [STARTED, ENDED]


def test_only_the_kinds_that_are_asked_for_are_told(
    conn: volary.Connection, pool: volary.Pool
) -> None:
    with conn.subscribe(kinds=[PoolEventKind.REFRESHED, CREATED]) as events:
        pool.create_volume(sparse("a"))
        pool.refresh()
        conn.close()
        assert kinds(events) == [CREATED, PoolEventKind.REFRESHED]


def test_every_job_that_began_ends_once_though_its_pool_crashes(
    talkative: volary.Connection, images: volary.Pool
) -> None:
    with talkative.subscribe(kinds=[STARTED, ENDED, PoolEventKind.REFRESHED]) as events:
        half = stopped_half_way(
            images,
            lambda on_progress: images.create_volume(long(), ASYNC, on_progress=on_progress),
        )
        actor = images.ref._actor
        assert actor is not None
        actor.tell(object())  # it knows no such message
        told = []
        for event in events:
            told.append(event)
            if isinstance(event, PoolEvent):
                break
        talkative.close()
        told += events
    jobs = [event for event in told if isinstance(event, JobEvent)]
    assert [event.kind for event in jobs if event.job_id == half.id] == [STARTED, ENDED]
    for job_id in {event.job_id for event in jobs}:
        assert [event.kind for event in jobs if event.job_id == job_id] == [STARTED, ENDED]
    assert "refresh pool" in {event.operation for event in jobs}


# What is so when it is told.


def contradiction(conn: volary.Connection, event: Event) -> object:
    """Return what there is although an event says otherwise."""
    match event:
        case PoolEvent(kind=PoolEventKind.UNDEFINED):
            return [pool.name for pool in conn.pools() if pool.name == event.name]
        case PoolEvent(kind=PoolEventKind.STARTED | PoolEventKind.STOPPED):
            active = conn.pool(event.uuid).is_active
            return active != (event.kind is PoolEventKind.STARTED)
        case VolumeEvent():
            names = [volume.name for volume in conn.pool(event.pool_uuid).volumes()]
            return (event.name in names) != (event.kind is not DELETED)
        case JobEvent(kind=JobEventKind.ENDED) if event.operation != "undefine pool":
            return not conn.job(event.job_id).done()
    return None


def test_who_hears_of_something_finds_it_so(conn: volary.Connection, tmp_path: Path) -> None:
    found: list[tuple[Event, object]] = []
    step = threading.Semaphore(0)

    def callback(event: Event) -> None:
        try:
            found.append((event, contradiction(conn, event)))
        except volary.VolaryError as error:
            found.append((event, error))
        if event.kind in (ENDED, PoolEventKind.UNDEFINED):
            step.release()

    with conn.subscribe(callback):
        pool = conn.define_pool(PoolSpec("p", target=tmp_path / "p"))
        assert step.acquire(timeout=20)
        for call in (
            lambda: pool.start(PoolStart.BUILD),
            lambda: pool.create_volume(sparse("a")),
            lambda: pool.create_volume(long("b")),
            lambda: pool.volume("a").resize(2 * MIB),
            lambda: pool.volume("a").delete(),
            pool.stop,
            pool.undefine,
        ):
            call()
            assert step.acquire(timeout=20)
    assert [event for event, wrong in found if wrong] == []
    assert {event.kind for event, _ in found} > {*VolumeEventKind, PoolEventKind.UNDEFINED}


# Slow listeners.


def test_a_listener_that_is_stuck_holds_up_nobody_and_loses_the_oldest(
    conn: volary.Connection, pool: volary.Pool
) -> None:
    told: list[Event] = []
    stuck, go_on = threading.Event(), threading.Event()

    def callback(event: Event) -> None:
        told.append(event)
        stuck.set()
        go_on.wait(20)

    events = conn.subscribe(callback, kinds=VolumeEventKind, limit=10)
    pool.create_volume(sparse("first"))
    assert stuck.wait(20)
    for number in range(30):
        pool.create_volume(sparse(f"v{number}"))
    assert [event.name for event in told if isinstance(event, VolumeEvent)] == ["first"]
    go_on.set()
    conn.close()
    names = [event.name for event in told if isinstance(event, VolumeEvent)]
    assert names == ["first", *(f"v{number}" for number in range(20, 30))]
    assert events.lost == 20


def test_a_slow_listener_hears_the_newest_progress_and_every_end(
    talkative: volary.Connection, images: volary.Pool
) -> None:
    events = talkative.subscribe()
    # Told after the first one: what it has heard, that one has, too.
    ends = talkative.subscribe(kinds=[ENDED])
    jobs = [images.create_volume(long(f"v{number}"), ASYNC) for number in range(3)]
    paused = stopped_half_way(
        images, lambda on_progress: images.create_volume(long(), ASYNC, on_progress=on_progress)
    )
    for _ in jobs:
        next(ends)
    # Nothing has been taken until now; the end of each of the three has taken its progress out.
    told = []
    for event in events:
        told.append(event)
        if event.kind is PROGRESSED:
            break
    (progress,) = [event for event in told if event.kind is PROGRESSED]
    assert isinstance(progress, JobEvent)
    assert progress.job_id == paused.id
    assert progress.progress == paused.progress()
    ended = {event.job_id for event in told if isinstance(event, JobEvent) and event.kind is ENDED}
    assert ended >= {job.id for job in jobs}
    assert events.lost == 0
    paused.cancel()
    events.close()


def test_a_listener_is_told_nothing_in_the_log(
    conn: volary.Connection, pool: volary.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="volary"):
        pool.create_volume(sparse("a"))
        alone = len(caplog.records)
        with conn.subscribe():
            pool.create_volume(sparse("b"))
    assert len(caplog.records) == 2 * alone


# The end.


def test_a_close_tells_the_ends_of_its_jobs_before_it_ends_the_iteration(
    talkative: volary.Connection, images: volary.Pool
) -> None:
    called: list[Event] = []
    events = talkative.subscribe()
    talkative.subscribe(called.append)
    job = stopped_half_way(
        images, lambda on_progress: images.create_volume(long(), ASYNC, on_progress=on_progress)
    )
    talkative.close()
    for told in (list(events), called):
        (end,) = [event for event in told if isinstance(event, JobEvent) and event.kind is ENDED]
        assert (end.job_id, end.state) == (job.id, JobState.CANCELLED)
    assert list(events) == []


def test_a_callback_that_closes_the_connection_is_told_to_leave_that_to_others(
    conn: volary.Connection, pool: volary.Pool
) -> None:
    raised: list[BaseException] = []
    heard = threading.Event()

    def callback(_: Event) -> None:
        try:
            conn.close()
        except volary.VolaryError as error:
            raised.append(error)
        heard.set()

    with conn.subscribe(callback, kinds=[CREATED]):
        pool.create_volume(sparse("a"))
        assert heard.wait(20)
    (error,) = raised
    assert isinstance(error, volary.ConnectionClosed)
    pool.create_volume(sparse("b"))


def test_a_callback_may_use_the_pool_and_end_its_own_subscription(
    conn: volary.Connection, pool: volary.Pool
) -> None:
    names: list[str] = []
    heard = threading.Event()

    def callback(event: Event) -> None:
        assert isinstance(event, VolumeEvent)
        names.append(pool.create_volume(sparse("of the callback")).name)
        events.close()
        heard.set()

    events = conn.subscribe(callback, kinds=[CREATED])
    pool.create_volume(sparse("a"))
    assert heard.wait(20)
    pool.create_volume(sparse("b"))
    conn.close()
    assert names == ["of the callback"]


def test_a_waiting_iteration_ends_when_another_thread_closes_it(conn: volary.Connection) -> None:
    events = conn.subscribe()
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(list, events)
        while not events._outbox._sleepers:
            pass
        events.close()
        assert waiting.result(20) == []
    events.close()


def test_no_thread_of_a_subscription_is_left_after_a_close(tmp_path: Path) -> None:
    before = threading.active_count()
    conn = volary.open(state_dir=tmp_path / "state")
    called, go_on = threading.Event(), threading.Event()

    def callback(_: Event) -> None:
        called.set()
        go_on.wait(20)

    conn.subscribe(lambda _: None)
    closed = conn.subscribe(callback)
    conn.create_pool(PoolSpec("p", target=tmp_path / "p"), PoolStart.BUILD)
    assert called.wait(20)
    closed.close()  # in the middle of a call, which goes on
    threading.Timer(0.01, go_on.set).start()
    conn.close()
    assert go_on.is_set()
    assert threading.active_count() <= before + 1  # the timer's


def test_one_that_nobody_holds_any_more_costs_nothing(
    conn: volary.Connection, pool: volary.Pool
) -> None:
    events = conn.subscribe()
    pool.create_volume(sparse("a"))
    next(events)
    del events
    gc.collect()
    pool.create_volume(sparse("b"))
    assert pool.engine.events.listeners == []


def test_a_closed_connection_takes_no_subscription(conn: volary.Connection) -> None:
    conn.close()
    with pytest.raises(volary.ConnectionClosed):
        conn.subscribe()


# Coroutines.


def test_events_can_be_awaited(conn: volary.Connection, pool: volary.Pool) -> None:
    async def main() -> list[object]:
        told: list[object] = []
        async with conn.subscribe(kinds=VolumeEventKind) as events:
            await pool.create_volume(sparse("a"), ASYNC)
            creating = pool.create_volume(sparse("b"), ASYNC)
            async for event in events:
                assert isinstance(event, VolumeEvent)
                told.append((event.kind, event.name))
                if event.name == "b":
                    break
            await creating
        assert [event async for event in events] == []
        return told

    assert asyncio.run(main()) == [(CREATED, "a"), (CREATED, "b")]


def test_an_iteration_in_a_loop_ends_with_the_connection(
    conn: volary.Connection, pool: volary.Pool
) -> None:
    async def main() -> list[object]:
        events = conn.subscribe(kinds=[CREATED])
        listening = asyncio.create_task(collect(events))
        await asyncio.sleep(0)
        await pool.create_volume(sparse("a"), ASYNC)
        await asyncio.to_thread(conn.close)
        return kinds(await listening)

    assert asyncio.run(main()) == [CREATED]


async def collect(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


def test_a_wait_that_is_given_up_loses_no_event(
    conn: volary.Connection, pool: volary.Pool
) -> None:
    async def main() -> list[object]:
        events = conn.subscribe(kinds=[CREATED])
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.001)
        creating = pool.create_volume(sparse("a"), ASYNC)
        told = [await anext(events)]
        await creating
        return kinds(told)

    assert asyncio.run(main()) == [CREATED]


def test_several_loops_may_share_one_subscription(
    conn: volary.Connection, pool: volary.Pool
) -> None:
    events = conn.subscribe(kinds=[CREATED])
    with ThreadPoolExecutor() as threads:
        loops = [threads.submit(asyncio.run, collect(events)) for _ in range(3)]
        for number in range(50):
            pool.create_volume(sparse(f"v{number:02}"))
        conn.close()
        told = [event for loop in loops for event in loop.result(20)]
    names = [event.name for event in told if isinstance(event, VolumeEvent)]
    assert sorted(names) == [f"v{number:02}" for number in range(50)]


def test_a_loop_that_was_closed_while_it_waited_harms_nobody(
    conn: volary.Connection, pool: volary.Pool
) -> None:
    events = conn.subscribe(kinds=[CREATED])
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(collect(events))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    pool.create_volume(sparse("a"))
    assert next(events).kind is CREATED
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]  # it was meant so


# What is refused.


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "many"])
def test_a_limit_that_is_none_is_refused(conn: volary.Connection, limit: int) -> None:
    with pytest.raises(volary.InvalidSpec, match="limit"):
        conn.subscribe(limit=limit)


@pytest.mark.parametrize("wanted", [["created"], [0], JobEventKind.ENDED, 7])
def test_kinds_that_are_none_are_refused(conn: volary.Connection, wanted: object) -> None:
    with pytest.raises(volary.InvalidSpec, match="kind"):
        conn.subscribe(kinds=wanted)  # type: ignore[arg-type]  # that is what is wrong


async def _coroutine(_: Event) -> None:
    """Be what nobody would await."""


@pytest.mark.parametrize("callback", ["print", _coroutine])
def test_what_cannot_be_called_is_refused(conn: volary.Connection, callback: object) -> None:
    with pytest.raises(volary.InvalidSpec, match="function"):
        conn.subscribe(callback)  # type: ignore[arg-type]  # that is what is wrong


def test_one_that_calls_a_function_is_not_iterated_over(conn: volary.Connection) -> None:
    events: Subscription = conn.subscribe(lambda _: None)
    with pytest.raises(volary.InvalidSpec, match="calls a function"):
        iter(events)
    with pytest.raises(volary.InvalidSpec, match="calls a function"):
        aiter(events)
