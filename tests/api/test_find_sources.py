"""What pools could be made of, and which types of pools there are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

import volary
from volary import ASYNC, JobEvent, JobEventKind, JobState, PoolSource, SourceDevice, SourceHost
from volary.engine.backends import BACKENDS
from volary.engine.backends.directory import DirectoryBackend
from volary.engine.progress import Done, Operation

FOUND = PoolSource(devices=(SourceDevice("/dev/found"),), format="ext4")


class Search:
    """A search that goes on when the test says so, and what is known of it."""

    def __init__(self) -> None:
        self.wanted: list[PoolSource] = []
        self.steps, self.reached = threading.Semaphore(0), threading.Semaphore(0)
        self.undone = False

    def find(self, wanted: PoolSource) -> Operation[tuple[PoolSource, ...]]:
        """Search in two steps."""
        self.wanted.append(wanted)
        try:
            for done in range(2):
                self.reached.release()
                assert self.steps.acquire(timeout=20)
                yield Done(done, 2)
        except GeneratorExit:
            self.undone = True
            raise
        return (FOUND,)

    def let_go(self) -> None:
        """Have it go on to its end."""
        self.steps.release(100)


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    """What is searched for sources of pools of the type "mpath"."""
    search = Search()

    class Backend(DirectoryBackend):
        type = "mpath"

        @classmethod
        def find_sources(cls, wanted: PoolSource) -> Operation[tuple[PoolSource, ...]]:
            return search.find(wanted)

    monkeypatch.setitem(BACKENDS, "mpath", Backend)
    yield search
    search.let_go()


def begun(conn: volary.Connection, search: Search) -> volary.Job[list[PoolSource]]:
    """Return a search that has begun, and has not done its first step."""
    job = conn.find_sources("mpath", flags=ASYNC)
    assert search.reached.acquire(timeout=20)
    return job


def stand_still(conn: volary.Connection, search: Search, job: volary.Job[Any]) -> None:
    """Have a search that has begun stand still after its first step."""
    job.pause()
    conn.jobs()  # answered after the order was passed on
    search.steps.release()
    while job.state is not JobState.PAUSED:
        assert not job.done()


def test_sources_are_found(conn: volary.Connection, search: Search) -> None:
    search.let_go()
    assert conn.find_sources("mpath") == [FOUND]
    assert search.wanted == [PoolSource()]


def test_where_to_look_is_passed_on(conn: volary.Connection, search: Search) -> None:
    search.let_go()
    wanted = PoolSource(devices=(SourceDevice("/dev/x"),))
    conn.find_sources("mpath", wanted)
    assert search.wanted == [wanted]


def test_where_to_look_may_be_libvirts_document(
    conn: volary.Connection, monkeypatch: pytest.MonkeyPatch, search: Search
) -> None:
    monkeypatch.setitem(BACKENDS, "netfs", BACKENDS["mpath"])
    search.let_go()
    conn.find_sources("netfs", "<source><host name='server' port='111'/></source>")
    assert search.wanted[0].hosts == (SourceHost("server", 111),)


def test_a_search_is_a_job_of_no_pool_that_is_listed(
    conn: volary.Connection, search: Search
) -> None:
    job = begun(conn, search)
    assert (job.operation, job.pool, job.volume) == ("find sources", None, None)
    assert job.state is JobState.RUNNING
    assert "find sources the host, running" in repr(job)
    assert conn.jobs() == [job]
    assert conn.job(job.id) is job
    search.let_go()
    assert job.result(20) == [FOUND]
    assert conn.jobs() == [job]


def test_a_search_can_be_cancelled(conn: volary.Connection, search: Search) -> None:
    job = begun(conn, search)
    stand_still(conn, search, job)
    assert job.cancel()
    assert search.undone
    with pytest.raises(CancelledError):
        job.result()


def test_a_blocking_search_that_is_cancelled_elsewhere_says_so(
    conn: volary.Connection, search: Search
) -> None:
    with ThreadPoolExecutor() as threads:
        searching = threads.submit(conn.find_sources, "mpath")
        assert search.reached.acquire(timeout=20)
        (job,) = conn.jobs()
        stand_still(conn, search, job)
        assert job.cancel()
        with pytest.raises(volary.JobCancelled, match="on the host was cancelled"):
            searching.result(20)


def test_a_search_can_be_paused_and_resumed(conn: volary.Connection, search: Search) -> None:
    job = begun(conn, search)
    stand_still(conn, search, job)
    assert not search.reached.acquire(blocking=False)
    search.let_go()
    job.resume()
    assert job.result(20) == [FOUND]


def test_a_search_can_be_awaited(conn: volary.Connection, search: Search) -> None:
    search.let_go()

    async def main() -> list[PoolSource]:
        return await conn.find_sources("mpath", flags=ASYNC)

    assert asyncio.run(main()) == [FOUND]


def test_a_close_cancels_a_search(conn: volary.Connection, search: Search) -> None:
    job = begun(conn, search)
    stand_still(conn, search, job)
    conn.close()
    assert job.cancelled()
    assert search.undone
    with pytest.raises(volary.ConnectionClosed):
        conn.find_sources("mpath")


def test_a_search_is_told_of_as_other_jobs_are(conn: volary.Connection, search: Search) -> None:
    search.let_go()
    with conn.subscribe(kinds=[JobEventKind.STARTED, JobEventKind.ENDED]) as events:
        conn.find_sources("mpath")
        told = [next(events), next(events)]
    assert [event.kind for event in told] == [JobEventKind.STARTED, JobEventKind.ENDED]
    assert all(isinstance(event, JobEvent) and event.pool is None for event in told)


def test_a_defect_in_a_search_fails_it_alone(
    conn: volary.Connection, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(search, "find", lambda _: iter([1 / 0]))
        with pytest.raises(volary.InternalFailure, match="find sources on the host"):
            conn.find_sources("mpath")
    search.let_go()
    assert conn.find_sources("mpath") == [FOUND]


def test_what_the_hosts_actor_does_not_know_harms_nobody(
    conn: volary.Connection, pool: volary.Pool, search: Search
) -> None:
    actor = pool.engine.host._actor
    assert actor is not None
    actor.tell(object())
    search.let_go()
    assert conn.find_sources("mpath") == [FOUND]


def test_a_type_whose_sources_nobody_can_list_says_so(conn: volary.Connection) -> None:
    with pytest.raises(volary.NoDiscovery, match="'dir'") as raised:
        conn.find_sources("dir")
    assert raised.value.code == volary.ErrorCode.NO_SUPPORT  # as libvirt 9.0.0 has it


Refused = Callable[[volary.Connection], object]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda conn: conn.find_sources("nfs"), volary.InvalidSpec, "unknown pool type 'nfs'"),
        (lambda conn: conn.find_sources("sheepdog"), volary.BackendMissing, "'sheepdog'"),
        (lambda conn: conn.find_sources("mpath", flags=1), volary.InvalidSpec, "unknown flags"),
        (lambda conn: conn.find_sources("mpath", 7), volary.InvalidSpec, "no source"),
        (lambda conn: conn.find_sources("mpath", "<pool/>"), volary.InvalidDocument, "source"),
        (lambda conn: conn.find_sources("mpath", ""), volary.InvalidDocument, "empty"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    conn: volary.Connection,
    search: Search,
    call: Refused,
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        call(conn)
    assert conn.jobs() == []


def test_no_thread_of_a_search_is_left_after_a_close(tmp_path: Path) -> None:
    before = threading.active_count()
    with volary.open(state_dir=tmp_path / "state") as conn, pytest.raises(volary.NoDiscovery):
        conn.find_sources("dir")
    assert threading.active_count() == before


def test_the_capabilities_say_which_types_can_be_started(conn: volary.Connection) -> None:
    pools = etree.fromstring(conn.capabilities()).findall("pool")
    assert {pool.get("type") for pool in pools if pool.get("supported") == "yes"} == set(BACKENDS)
    assert len(pools) == 14
