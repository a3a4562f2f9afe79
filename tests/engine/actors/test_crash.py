from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import pytest

import volary
from volary.engine.backends.open_directory import OpenDirectory
from volary.engine.definition_store import DefinitionStore
from volary.engine.pool_info import Space
from volary.engine.progress import Operation

MIB = 1 << 20


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> Callable[[volary.Pool], None]:
    """Make a pool's actor meet a defect, once."""

    def crash(pool: volary.Pool) -> None:
        sound = OpenDirectory.space
        before = newest(pool)

        def space(active: OpenDirectory) -> Space:
            if active.spec.name != pool.name:
                return sound(active)
            raise ZeroDivisionError("a defect")

        with monkeypatch.context() as patch:
            patch.setattr(OpenDirectory, "space", space)
            with pytest.raises(volary.PoolCrashed, match="a defect") as caught:
                pool.info()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        settle(pool, before)

    return crash


def newest(pool: volary.Pool) -> int:
    return max((job.id for job in pool.jobs()), default=0)


def settle(pool: volary.Pool, after: int) -> None:
    """Wait until the pool is there again and has looked at its disk."""
    while True:
        try:
            jobs = pool.jobs()
        except volary.PoolCrashed:
            continue
        if any(job.operation == "refresh pool" and job.id > after for job in jobs):
            wait(jobs)
            return


def test_a_crashed_pool_is_there_again_with_its_volumes(
    pool: volary.Pool, crash: Callable[[volary.Pool], None]
) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    crash(pool)
    assert [volume.name for volume in pool.volumes()] == ["a"]
    assert pool.is_active
    assert not pool.is_persistent
    pool.create_volume(volary.VolumeSpec("b", capacity=MIB))
    assert [volume.name for volume in pool.volumes()] == ["a", "b"]


def test_the_disk_has_the_last_word_after_a_crash(
    pool: volary.Pool, target: Path, crash: Callable[[volary.Pool], None]
) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    (target / "a").unlink()
    (target / "b").touch()
    crash(pool)
    assert [volume.name for volume in pool.volumes()] == ["b"]


def test_jobs_of_a_crashed_pool_fail_clearly_and_leave_nothing(
    conn: volary.Connection, target: Path, crash: Callable[[volary.Pool], None]
) -> None:
    with volary.open(
        state_dir=target.parent / "other", settings=volary.Settings(allocators_per_pool=2)
    ) as other:
        pool = other.create_pool(volary.PoolSpec("images", target=target), volary.PoolStart.BUILD)
        jobs = [
            pool.create_volume(
                volary.VolumeSpec(f"v{i}", capacity=64 * MIB, preallocation="full"), volary.ASYNC
            )
            for i in range(4)
        ]
        for job in jobs:
            job.pause()
        crash(pool)
        wait(jobs)
        for job in jobs:
            assert isinstance(job.exception(), volary.PoolCrashed)
        assert pool.volumes() == []
        assert list(target.iterdir()) == []
        pool.create_volume(volary.VolumeSpec("v0", capacity=MIB))


def test_other_pools_notice_nothing(
    conn: volary.Connection,
    pool: volary.Pool,
    tmp_path: Path,
    crash: Callable[[volary.Pool], None],
) -> None:
    other = conn.create_pool(
        volary.PoolSpec("other", target=tmp_path / "other"), volary.PoolStart.BUILD
    )
    job = other.create_volume(
        volary.VolumeSpec("a", capacity=64 * MIB, preallocation="full"), volary.ASYNC
    )
    job.pause()
    crash(pool)
    assert not job.done()
    job.resume()
    assert job.result().name == "a"


def test_a_pool_that_keeps_crashing_is_left_inactive(
    pool: volary.Pool, crash: Callable[[volary.Pool], None]
) -> None:
    for _ in range(5):
        crash(pool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenDirectory, "space", lambda _: 1 / 0)
        with pytest.raises(volary.PoolCrashed):
            pool.info()
    while True:
        with suppress(volary.PoolCrashed):  # until it is started anew
            assert not pool.is_active
            break
    pool.start()
    assert pool.is_active


def test_a_defect_in_an_operation_fails_its_job_and_not_the_pool(
    pool: volary.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(OpenDirectory, "create_volume", lambda *_: iter([1 / 0]))
        with pytest.raises(volary.InternalFailure, match="ZeroDivisionError"):
            pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    pool.create_volume(volary.VolumeSpec("a", capacity=MIB))


def test_callers_in_many_threads_all_get_an_answer_when_a_pool_crashes(
    pool: volary.Pool, crash: Callable[[volary.Pool], None]
) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    answers: list[object] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(pool.volume("a").name)
            except volary.PoolCrashed as error:
                answers.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        crash(pool)
    stop.set()
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert "a" in answers


def test_a_pool_that_crashes_while_it_is_closed_does_not_hold_the_close_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = volary.open(state_dir=tmp_path / "state")
    conn.create_pool(volary.PoolSpec("p", target=tmp_path / "p"), volary.PoolStart.BUILD)
    monkeypatch.setattr(OpenDirectory, "close", lambda _: 1 / 0)
    closing = threading.Thread(target=conn.close)
    closing.start()
    closing.join(timeout=20)
    assert not closing.is_alive()


def test_jobs_that_ended_are_remembered_after_a_crash(
    conn: volary.Connection, pool: volary.Pool, crash: Callable[[volary.Pool], None]
) -> None:
    job = pool.create_volume(volary.VolumeSpec("a", capacity=MIB), volary.ASYNC)
    job.result()
    crash(pool)
    assert conn.job(job.id) is job


def no_thread(_: Callable[[], None]) -> None:
    """Be `Threads.run` where the system gives no thread: see test_threads.py for a real one."""
    raise volary.InternalFailure("no thread could be started")


def test_a_job_for_which_there_is_no_thread_fails_and_the_pool_lives(
    pool: volary.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = volary.VolumeSpec("a", capacity=MIB, allocation=MIB)
    with monkeypatch.context() as patch:
        patch.setattr(pool.engine._threads, "run", no_thread)
        job = pool.create_volume(spec, volary.ASYNC)
        assert isinstance(job.exception(timeout=20), volary.InternalFailure)
        assert pool.volumes() == []
    pool.create_volume(spec)
    assert [volume.name for volume in pool.volumes()] == ["a"]


def test_a_pool_that_crashes_while_there_is_no_thread_is_started_anew_later(
    pool: volary.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    with monkeypatch.context() as patch:
        patch.setattr(pool.engine._threads, "run", no_thread)
        patch.setattr(OpenDirectory, "space", lambda _: 1 / 0)
        before = newest(pool)
        with pytest.raises(volary.PoolCrashed):
            pool.info()
    settle(pool, before)
    assert [volume.name for volume in pool.volumes()] == ["a"]


def test_a_pool_that_is_started_anew_while_the_connection_closes_does_not_hold_it_up(
    tmp_path: Path,
) -> None:
    conn = volary.open(state_dir=tmp_path / "state")
    pool = conn.create_pool(volary.PoolSpec("p", target=tmp_path / "p"), volary.PoolStart.BUILD)
    # What close() does first; then the pool dies on a message that it does not know.
    pool.engine._life.close("the connection is closed")
    actor = pool.ref._actor
    assert actor is not None
    actor.tell(object())
    while pool.ref._actor is actor:
        actor.actor_stopped.wait(0.01)
    closing = threading.Thread(target=conn.close)
    closing.start()
    closing.join(timeout=20)
    assert not closing.is_alive()


def test_a_crash_keeps_the_live_and_the_pending_definition(
    conn: volary.Connection,
    pool: volary.Pool,
    tmp_path: Path,
    target: Path,
    crash: Callable[[volary.Pool], None],
) -> None:
    conn.define_pool(volary.PoolSpec("images", uuid=pool.uuid, target=tmp_path / "b"))
    pool.autostart = True
    crash(pool)
    assert (pool.target, pool.is_persistent, pool.autostart) == (str(target), True, True)
    assert f"<path>{tmp_path}/b</path>" in pool.xml(volary.PoolXml.INACTIVE)
    for name in ("images", "b"):
        with pytest.raises(volary.PoolExists, match=f"target {tmp_path / name}"):
            conn.define_pool(volary.PoolSpec("other", target=tmp_path / name))
    pool.stop()
    assert pool.target == str(tmp_path / "b")


@pytest.mark.parametrize("saved", [False, True])
def test_a_definition_that_a_crash_kept_from_being_noted_is_not_on_disk(
    conn: volary.Connection,
    pool: volary.Pool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    saved: bool,
) -> None:
    state = Path(conn.state_dir)
    conn.define_pool(volary.PoolSpec("images", uuid=pool.uuid, target=tmp_path / "b"))
    before = (state / "images.xml").read_text()
    begun, going = threading.Event(), threading.Event()
    sound = DefinitionStore.save

    def save(store: DefinitionStore, spec: volary.PoolSpec) -> Operation[None]:
        if saved:
            yield from sound(store, spec)
        begun.set()
        assert going.wait(20)
        if not saved:
            yield from sound(store, spec)

    with monkeypatch.context() as patch:
        patch.setattr(DefinitionStore, "save", save)
        spec = volary.PoolSpec("images", uuid=pool.uuid, target=tmp_path / "c")
        with ThreadPoolExecutor() as executor:
            failing = executor.submit(conn.define_pool, spec)
            assert begun.wait(20)
            patch.setattr(OpenDirectory, "space", lambda _: 1 / 0)
            with pytest.raises(volary.PoolCrashed):
                pool.info()
            patch.undo()
            going.set()
            assert isinstance(failing.exception(20), volary.PoolCrashed)
    assert (state / "images.xml").read_text() == before
    conn.define_pool(volary.PoolSpec("other", target=tmp_path / "c"))
