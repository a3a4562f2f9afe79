from __future__ import annotations

import concurrent.futures
import logging
import os
import threading
import time
from pathlib import Path

import pytest
import structlog

import volary

MIB = 1 << 20


def long(name: str = "long", mebibytes: int = 128) -> volary.VolumeSpec:
    return volary.VolumeSpec(name, capacity=mebibytes * MIB, preallocation="full")


def paused(pool: volary.Pool, name: str = "long") -> volary.Job[volary.Volume]:
    job = pool.create_volume(long(name), volary.ASYNC)
    job.pause()
    return job


def test_a_job_tells_what_it_is(conn: volary.Connection, pool: volary.Pool) -> None:
    job = paused(pool)
    assert (job.operation, job.pool, job.volume) == ("create volume", "images", "long")
    assert job in conn.jobs()
    assert conn.job(job.id) is job
    assert f"<Job {job.id}: create volume images/long" in repr(job)
    job.cancel()


def test_a_job_is_a_future(pool: volary.Pool) -> None:
    jobs = [pool.create_volume(long(f"v{i}", 1), volary.ASYNC) for i in range(10)]
    names = {job.result().name for job in concurrent.futures.as_completed(jobs, timeout=30)}
    assert names == {f"v{i}" for i in range(10)}
    assert concurrent.futures.wait(jobs).not_done == set()
    assert all(job.state is volary.JobState.SUCCEEDED for job in jobs)


def test_a_failed_job_carries_its_error(pool: volary.Pool) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=1))
    job = pool.create_volume(volary.VolumeSpec("a", capacity=1), volary.ASYNC)
    assert isinstance(job.exception(), volary.VolumeExists)
    assert job.state is volary.JobState.FAILED
    assert not job.cancel()


def test_progress_is_told_up_to_the_end_and_not_too_often(pool: volary.Pool) -> None:
    told: list[tuple[float, volary.Progress]] = []
    pool.create_volume(
        long(mebibytes=256), on_progress=lambda p: told.append((time.monotonic(), p))
    )
    done = [progress.done for _, progress in told]
    assert done == sorted(done)
    assert told[-1][1].fraction == 1
    assert told[-1][1].eta == 0
    seconds = told[-1][0] - told[0][0]
    assert len(told) <= seconds / 0.05 + 3


def test_a_progress_function_that_raises_does_not_fail_the_job(pool: volary.Pool) -> None:
    def on_progress(progress: volary.Progress) -> None:
        raise RuntimeError(progress)

    assert pool.create_volume(long(), on_progress=on_progress).name == "long"


def test_a_progress_function_may_cancel_its_job_and_look_around(
    conn: volary.Connection, pool: volary.Pool, target: Path
) -> None:
    def on_progress(_: volary.Progress) -> None:
        assert pool.volumes() == []
        for job in conn.jobs():
            if job.volume == "long":
                job.cancel()

    with pytest.raises(volary.JobCancelled, match="nothing of it is left"):
        pool.create_volume(long(mebibytes=512), on_progress=on_progress)
    assert os.listdir(target) == []


def test_a_done_callback_may_use_the_pool(pool: volary.Pool) -> None:
    seen: concurrent.futures.Future[list[str]] = concurrent.futures.Future()
    job = pool.create_volume(long(), volary.ASYNC)
    job.add_done_callback(lambda _: seen.set_result([v.name for v in pool.volumes()]))
    assert seen.result(timeout=30) == ["long"]


def test_a_cancelled_job_leaves_nothing(pool: volary.Pool, target: Path) -> None:
    job = paused(pool)
    assert job.cancel()
    assert job.cancelled()
    assert job.state is volary.JobState.CANCELLED
    assert os.listdir(target) == []
    assert pool.volumes() == []
    with pytest.raises(concurrent.futures.CancelledError):
        job.result()


def test_waiters_hear_of_a_cancel(pool: volary.Pool) -> None:
    job = paused(pool)
    threading.Thread(target=job.cancel).start()
    assert concurrent.futures.wait([job], timeout=30).done == {job}
    assert [done.cancelled() for done in concurrent.futures.as_completed([job])] == [True]


def test_cancelling_what_has_ended_says_so(pool: volary.Pool) -> None:
    job = pool.create_volume(long(mebibytes=1), volary.ASYNC)
    job.result()
    assert not job.cancel()
    assert job.result().name == "long"
    cancelled = paused(pool, "other")
    assert cancelled.cancel()
    assert cancelled.cancel()


def test_a_blocking_call_whose_job_is_cancelled_elsewhere_says_so(
    conn: volary.Connection, pool: volary.Pool
) -> None:
    def cancel(progress: volary.Progress) -> None:
        if progress.done < 64 * MIB:
            conn.jobs()[-1].cancel()

    with pytest.raises(volary.JobCancelled) as caught:
        pool.create_volume(long(mebibytes=512), on_progress=cancel)
    assert caught.value.code == volary.ErrorCode.OPERATION_ABORTED


def test_a_paused_job_stands_still_and_goes_on(pool: volary.Pool) -> None:
    job = pool.create_volume(long(mebibytes=128), volary.ASYNC)
    job.limit("64 MiB")
    job.pause()
    pool.info()
    while job.state is not volary.JobState.PAUSED:
        time.sleep(0.001)
    before = job.progress()
    with pytest.raises(concurrent.futures.TimeoutError):
        job.result(timeout=0.2)
    assert job.progress() == before
    assert not job.done()
    job.limit(None)
    job.resume()
    assert job.result(timeout=30).name == "long"


def test_a_waiting_job_can_be_paused_and_resumed(tmp_path: Path, target: Path) -> None:
    settings = volary.Settings(allocators_per_pool=1)
    with volary.open(state_dir=tmp_path / "state", settings=settings) as conn:
        pool = conn.create_pool(volary.PoolSpec("p", target=target), volary.PoolStart.BUILD)
        first = paused(pool, "first")
        second = paused(pool, "second")
        first.resume()
        first.result(timeout=30)
        with pytest.raises(concurrent.futures.TimeoutError):
            second.result(timeout=0.1)
        second.resume()
        assert second.result(timeout=30).name == "second"


def test_a_rate_limit_is_kept_to_and_can_be_lifted(pool: volary.Pool) -> None:
    began = time.monotonic()
    job = pool.create_volume(long(mebibytes=64), volary.ASYNC)
    job.limit("80 MiB")
    job.result(timeout=30)
    # An extent before the limit came, and a second's worth that may be caught up, are free.
    assert time.monotonic() - began > 0.3
    slow = pool.create_volume(long("slow"), volary.ASYNC)
    slow.limit(1)
    with pytest.raises(concurrent.futures.TimeoutError):
        slow.result(timeout=0.2)
    slow.limit(None)
    assert slow.result(timeout=30).name == "slow"


def test_a_job_that_waits_for_its_rate_limit_is_cancelled_at_once(pool: volary.Pool) -> None:
    job = pool.create_volume(long(), volary.ASYNC)
    job.limit(1)
    began = time.monotonic()
    assert job.cancel()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("rate", [0, -1, "fast", 1.5])
def test_a_rate_limit_that_is_none_is_refused(pool: volary.Pool, rate: int | str) -> None:
    job = paused(pool)
    with pytest.raises(volary.InvalidSpec, match="rate limit"):
        job.limit(rate)
    job.cancel()


def test_a_pool_remembers_so_many_finished_jobs(tmp_path: Path, target: Path) -> None:
    settings = volary.Settings(finished_jobs_per_pool=3)
    with volary.open(state_dir=tmp_path / "state", settings=settings) as conn:
        pool = conn.create_pool(volary.PoolSpec("p", target=target), volary.PoolStart.BUILD)
        for number in range(5):
            pool.create_volume(volary.VolumeSpec(f"v{number}", capacity=1))
        assert [job.volume for job in conn.jobs()] == ["v2", "v3", "v4"]
        with pytest.raises(volary.JobNotFound, match="no job has the id 1"):
            conn.job(1)


def test_jobs_of_every_pool_are_listed(
    conn: volary.Connection, pool: volary.Pool, tmp_path: Path
) -> None:
    other = conn.create_pool(
        volary.PoolSpec("other", target=tmp_path / "other"), volary.PoolStart.BUILD
    )
    jobs = [paused(pool), paused(other)]
    assert [job for job in conn.jobs() if not job.done()] == jobs
    for job in jobs:
        job.cancel()


def test_an_interrupted_wait_cancels_the_job(
    pool: volary.Pool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: object, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(volary.Job, "result", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pool.create_volume(long(mebibytes=512))
    assert os.listdir(target) == []


def test_a_jobs_log_lines_bear_its_name_and_its_callers_context(
    pool: volary.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, logger="volary"),
        structlog.contextvars.bound_contextvars(request="r-17"),
    ):
        job = pool.create_volume(long(mebibytes=1), volary.ASYNC)
        job.result()
    (line,) = [r.getMessage() for r in caplog.records if "job succeeded" in r.getMessage()]
    for part in (f"job={job.id}", "pool='images'", "volume='long'", "request='r-17'"):
        assert part in line


def test_a_slow_callback_holds_nobody_elses_creation_up(pool: volary.Pool) -> None:
    go_on = threading.Event()
    job = pool.create_volume(volary.VolumeSpec("a", capacity=1), volary.ASYNC)
    job.add_done_callback(lambda _: go_on.wait(30))
    for number in range(20):
        slow = pool.create_volume(volary.VolumeSpec(f"s{number}", capacity=1), volary.ASYNC)
        slow.add_done_callback(lambda _: go_on.wait(30))
        pool.create_volume(volary.VolumeSpec(f"v{number}", capacity=1))
    go_on.set()


def test_a_refused_job_is_remembered(conn: volary.Connection, pool: volary.Pool) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=1))
    job = pool.create_volume(volary.VolumeSpec("a", capacity=1), volary.ASYNC)
    concurrent.futures.wait([job])
    assert conn.job(job.id) is job


def test_a_pools_own_job_can_be_steered_at_once(conn: volary.Connection, tmp_path: Path) -> None:
    for number in range(20):
        job = conn.create_pool(
            volary.PoolSpec(f"p{number}", target=tmp_path / f"p{number}"),
            volary.PoolStart.BUILD | volary.ASYNC,
        )
        job.pause()
        assert job.cancel() == job.cancelled()
        assert job.done()
