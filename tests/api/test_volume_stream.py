from __future__ import annotations

import asyncio
import gc
from concurrent.futures import CancelledError, wait
from pathlib import Path

import pytest

import volary
from volary import ASYNC, Hole, InvalidSpec, JobState, VolumeSpec

MIB = 1 << 20
DATA = bytes(range(256)) * 4096 * 40


@pytest.fixture
def volume(pool: volary.Pool) -> volary.Volume:
    volume = pool.create_volume(VolumeSpec("a.raw", capacity="64 MiB"))
    volume.upload([DATA], offset=MIB)
    return volume


def content(volume: volary.Volume) -> bytes:
    return Path(volume.path).read_bytes()


def test_a_volume_is_read_in_chunks(volume: volary.Volume) -> None:
    chunks = list(volume.stream())
    assert b"".join(chunks) == content(volume)
    assert len(chunks) > 1


def test_a_part_is_read(volume: volary.Volume) -> None:
    assert b"".join(volume.stream(offset=MIB + 1, length=10)) == DATA[1:11]


def test_holes_come_as_such_when_asked_for(volume: volary.Volume) -> None:
    chunks = list(volume.stream(sparse=True))
    assert chunks[0] == Hole(MIB)
    assert chunks[-1] == Hole(23 * MIB)
    assert b"".join(chunk for chunk in chunks if not isinstance(chunk, Hole)) == DATA


def test_a_volume_is_copied_from_a_stream_into_another_one(
    volume: volary.Volume, pool: volary.Pool
) -> None:
    copy = pool.create_volume(VolumeSpec("b.raw", capacity="64 MiB"))
    copy.upload(volume.stream(sparse=True))
    assert content(copy) == content(volume)
    assert copy.info().allocation < len(DATA) + MIB


def test_the_volume_may_be_written_again_when_all_is_read(volume: volary.Volume) -> None:
    stream = volume.stream()
    for _ in stream:
        pass
    assert stream.job.state is JobState.SUCCEEDED
    volume.upload([b"new"])


def test_a_stream_that_is_left_early_is_cancelled(volume: volary.Volume) -> None:
    with volume.stream() as stream:
        next(stream)
    assert stream.job.state is JobState.CANCELLED
    volume.upload([b"new"])


def test_a_stream_that_is_forgotten_ends(volume: volary.Volume) -> None:
    stream = volume.stream()
    next(stream)
    job = stream.job
    del stream
    gc.collect()
    assert wait([job], 10).done
    assert job.state is JobState.FAILED


def test_nobody_writes_a_volume_while_it_is_read(volume: volary.Volume) -> None:
    with volume.stream() as stream:
        next(stream)
        with pytest.raises(volary.VolumeBusy):
            volume.upload([b"new"])


def test_a_stream_whose_job_is_cancelled_says_so(volume: volary.Volume) -> None:
    stream = volume.stream()
    next(stream)
    stream.job.cancel()
    with pytest.raises(CancelledError):
        list(stream)


def test_a_stream_of_a_volume_that_is_gone_says_so(volume: volary.Volume) -> None:
    volume.delete()
    with pytest.raises(volary.VolumeNotFound):
        list(volume.stream())


def test_a_stream_of_a_place_outside_says_so(volume: volary.Volume) -> None:
    with pytest.raises(InvalidSpec):
        list(volume.stream(offset="65 MiB"))


def test_a_volume_is_read_in_a_coroutine(volume: volary.Volume) -> None:
    async def main() -> bytes:
        return b"".join([chunk async for chunk in volume.stream()])

    assert asyncio.run(main()) == content(volume)


def test_the_loop_goes_on_while_a_stream_waits(volume: volary.Volume) -> None:
    async def main() -> int:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        turning = asyncio.create_task(turn())
        async for _ in volume.stream():
            pass
        turning.cancel()
        return turns

    assert asyncio.run(main()) > 1


def test_a_stream_that_a_coroutine_leaves_early_is_cancelled(volume: volary.Volume) -> None:
    async def main() -> None:
        async with volume.stream() as stream:
            await anext(stream)
        assert stream.job.state is JobState.CANCELLED
        await volume.upload([b"new"], ASYNC)

    asyncio.run(main())


def test_a_coroutine_hears_why_a_stream_failed(volume: volary.Volume) -> None:
    volume.delete()

    async def main() -> None:
        async for _ in volume.stream():
            pass

    with pytest.raises(volary.VolumeNotFound):
        asyncio.run(main())
