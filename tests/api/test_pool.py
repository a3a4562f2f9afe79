from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.system.half_way import TALKATIVE, paused_half_way

import volary

MIB = 1 << 20


def full(name: str, mebibytes: int) -> volary.VolumeSpec:
    return volary.VolumeSpec(name, capacity=mebibytes * MIB, preallocation="full")


def test_a_pool_goes_through_its_life(conn: volary.Connection, target: Path) -> None:
    pool = conn.define_pool(volary.PoolSpec("images", target=target, mode=0o700))
    pool.build()
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    pool.start()
    with pytest.raises(volary.PoolActive, match="is active already"):
        pool.start()
    pool.stop()
    with pytest.raises(volary.PoolInactive, match="start it first"):
        pool.stop()
    pool.delete()
    assert not target.exists()
    pool.undefine()
    assert conn.pools() == []


@pytest.mark.parametrize(
    "call",
    [
        volary.Pool.volumes,
        volary.Pool.refresh,
        lambda pool: pool.volume("a"),
        lambda pool: pool.create_volume(volary.VolumeSpec("a", capacity=1)),
    ],
)
def test_an_inactive_pool_says_so(
    conn: volary.Connection, target: Path, call: Callable[[volary.Pool], object]
) -> None:
    pool = conn.define_pool(volary.PoolSpec("images", target=target))
    with pytest.raises(volary.PoolInactive, match="pool 'images' is not active; start it first"):
        call(pool)


@pytest.mark.parametrize("call", [volary.Pool.build, volary.Pool.delete, volary.Pool.undefine])
def test_an_active_pool_is_not_built_deleted_or_undefined(
    conn: volary.Connection, target: Path, call: Callable[[volary.Pool], object]
) -> None:
    pool = conn.define_pool(volary.PoolSpec("images", target=target))
    pool.start(volary.PoolStart.BUILD)
    with pytest.raises(volary.PoolActive, match="pool 'images' is active; stop it to"):
        call(pool)


def test_a_transient_pool_has_no_definition_to_change(pool: volary.Pool) -> None:
    with pytest.raises(volary.PoolTransient, match="is transient"):
        pool.autostart = True


def test_info_is_that_of_the_file_system(pool: volary.Pool, target: Path) -> None:
    info = pool.info()
    answer = os.statvfs(target)
    assert info.state is volary.PoolState.RUNNING
    assert info.capacity == answer.f_blocks * answer.f_frsize
    assert info.allocation + info.available == info.capacity


def test_an_inactive_pool_has_no_space(conn: volary.Connection, target: Path) -> None:
    info = conn.define_pool(volary.PoolSpec("images", target=target)).info()
    assert info == volary.PoolInfo(volary.PoolState.INACTIVE, 0, 0, 0)


def test_a_refresh_finds_what_came_and_went(pool: volary.Pool, target: Path) -> None:
    pool.create_volume(volary.VolumeSpec("gone", capacity=1))
    pool.create_volume(volary.VolumeSpec("kept", capacity=1))
    (target / "gone").unlink()
    (target / "come").touch()
    pool.refresh()
    assert [volume.name for volume in pool.volumes()] == ["come", "kept"]


def test_everything_else_goes_on_while_an_allocation_runs(pool: volary.Pool, target: Path) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=1))
    job = pool.create_volume(full("long", 256), volary.ASYNC)
    job.pause()
    pool.refresh()
    assert pool.volume("a").info().capacity == 1
    pool.create_volume(full("b", 1))
    assert [volume.name for volume in pool.volumes()] == ["a", "b"]
    pool.volume("a").delete()
    assert pool.info().state is volary.PoolState.RUNNING
    assert not job.done()
    job.resume()
    job.result()
    assert [volume.name for volume in pool.volumes()] == ["b", "long"]


def test_a_pool_is_not_stopped_while_jobs_run(pool: volary.Pool) -> None:
    job = pool.create_volume(full("long", 256), volary.ASYNC)
    job.pause()
    with pytest.raises(volary.PoolBusy, match=f"jobs: {job.id} \\(create volume\\)"):
        pool.stop()
    assert pool.is_active
    job.cancel()
    pool.stop()


def test_space_promised_to_a_job_is_not_promised_to_another(pool: volary.Pool) -> None:
    # Half of the free space and half again do not fit; the first job stands still before it
    # has taken any of it, since it waits behind nothing but its pause.
    available = pool.info().available
    settings_width = 8
    blockers = [
        pool.create_volume(full(f"blocker{i}", 256), volary.ASYNC) for i in range(settings_width)
    ]
    for job in blockers:
        job.pause()
    half = available * 6 // 10
    waiting = pool.create_volume(
        volary.VolumeSpec("first", capacity=half, allocation=half), volary.ASYNC
    )
    with pytest.raises(volary.NoSpace, match="are promised to jobs"):
        pool.create_volume(volary.VolumeSpec("second", capacity=half, allocation=half))
    assert pool.info().available < available // 2
    assert waiting.cancel()
    for job in blockers:
        assert job.cancel()
    assert pool.info().available > available // 2


def test_more_than_is_free_is_refused_at_once(pool: volary.Pool, target: Path) -> None:
    with pytest.raises(volary.NoSpace, match=r"'a' needs 1\.00 PiB, but pool 'images' has"):
        pool.create_volume(volary.VolumeSpec("a", capacity="1 PiB", allocation="1 PiB"))
    assert os.listdir(target) == []


def test_allocators_are_bounded_and_the_rest_wait_in_order(tmp_path: Path, target: Path) -> None:
    settings = replace(TALKATIVE, allocators_per_pool=2)
    with volary.open(state_dir=tmp_path / "state", settings=settings) as conn:
        pool = conn.create_pool(volary.PoolSpec("p", target=target), volary.PoolStart.BUILD)
        jobs = [paused_half_way(pool, full(f"v{i}", 32)) for i in range(2)]
        jobs += [pool.create_volume(full(f"v{i}", 32), volary.ASYNC) for i in range(2, 5)]
        pool.info()
        assert [job.running() for job in jobs] == [True, True, False, False, False]
        assert jobs[2].cancel()
        assert jobs[2].state is volary.JobState.CANCELLED
        order: list[object] = []
        for job in jobs[3:]:
            job.add_done_callback(order.append)
        jobs[0].cancel()
        jobs[4].result()
        assert order == jobs[3:]
        jobs[1].cancel()


def test_a_sparse_creation_does_not_wait_behind_allocations(tmp_path: Path, target: Path) -> None:
    settings = volary.Settings(allocators_per_pool=1)
    with volary.open(state_dir=tmp_path / "state", settings=settings) as conn:
        pool = conn.create_pool(volary.PoolSpec("p", target=target), volary.PoolStart.BUILD)
        long = pool.create_volume(full("long", 256), volary.ASYNC)
        long.pause()
        pool.create_volume(volary.VolumeSpec("sparse", capacity="1 TiB"))
        assert not long.done()


def test_unknown_flags_are_refused(pool: volary.Pool) -> None:
    with pytest.raises(volary.InvalidSpec, match="create volume: unknown flags 0x8"):
        pool.create_volume(volary.VolumeSpec("a", capacity=1), 8)
    with pytest.raises(volary.InvalidSpec, match="start pool: unknown flags 0x800"):
        pool.start(0x800 | volary.ASYNC)


@pytest.mark.parametrize("count", [0, 1, 50])
def test_volumes_are_listed_by_name(pool: volary.Pool, target: Path, count: int) -> None:
    for number in range(count):
        (target / f"v{count - number:03}").touch()
    pool.refresh()
    names = [volume.name for volume in pool.volumes()]
    assert names == sorted(names)
    assert len(names) == count
