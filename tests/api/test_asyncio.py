from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

import volary

MIB = 1 << 20


def long(name: str = "long") -> volary.VolumeSpec:
    return volary.VolumeSpec(name, capacity=64 * MIB, preallocation="full")


def test_a_job_can_be_awaited(pool: volary.Pool) -> None:
    async def main() -> volary.Volume:
        return await pool.create_volume(long(), volary.ASYNC)

    assert asyncio.run(main()).name == "long"


def test_many_jobs_can_be_gathered(pool: volary.Pool) -> None:
    async def main() -> list[str]:
        jobs = [
            pool.create_volume(volary.VolumeSpec(f"v{i:03}", capacity=MIB), volary.ASYNC)
            for i in range(200)
        ]
        return [volume.name for volume in await asyncio.gather(*jobs)]

    assert asyncio.run(main()) == [f"v{i:03}" for i in range(200)]


def test_an_error_is_raised_where_it_is_awaited(pool: volary.Pool) -> None:
    async def main() -> None:
        await pool.create_volume(volary.VolumeSpec("a", capacity=1), volary.ASYNC)
        with pytest.raises(volary.VolumeExists):
            await pool.create_volume(volary.VolumeSpec("a", capacity=1), volary.ASYNC)

    asyncio.run(main())


def test_a_cancelled_task_cancels_its_job_and_hears_of_it_when_it_is_undone(
    pool: volary.Pool, target: Path
) -> None:
    async def main() -> None:
        job = pool.create_volume(long(), volary.ASYNC)
        job.pause()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await job
        assert job.cancelled()
        assert os.listdir(target) == []

    asyncio.run(main())


def test_a_shielded_job_goes_on(pool: volary.Pool) -> None:
    async def main() -> None:
        job = pool.create_volume(long(), volary.ASYNC)
        job.pause()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await asyncio.shield(job)
        assert not job.done()
        job.resume()
        assert (await job).name == "long"

    asyncio.run(main())


def test_awaiting_a_cancelled_job_raises_cancelled_error(pool: volary.Pool) -> None:
    async def main() -> None:
        job = pool.create_volume(long(), volary.ASYNC)
        job.pause()
        assert job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job

    asyncio.run(main())


def test_cancelling_does_not_block_the_event_loop(
    pool: volary.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        job = pool.create_volume(long(), volary.ASYNC)
        job.limit(1)
        began = time.perf_counter()
        job.cancel()
        assert time.perf_counter() - began < 0.05
        await asyncio.wait([asyncio.wrap_future(job)])
        assert job.cancelled()

    asyncio.run(main())


def test_the_standard_librarys_wrapper_works_too(pool: volary.Pool) -> None:
    async def main() -> str:
        job = pool.create_volume(long(), volary.ASYNC)
        return (await asyncio.wait_for(asyncio.wrap_future(job), timeout=30)).name

    assert asyncio.run(main()) == "long"
