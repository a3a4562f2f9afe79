from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.half_way import TALKATIVE, stopped_half_way
from tests.system.host_image import contents
from tests.system.small_extents import EXTENT, small_extents

import volary
from volary import ASYNC, Hole, VolumeDelete, VolumeSpec, WipeAlgorithm

SIZE = 16 * EXTENT
DATA = b"x" * SIZE
ENDS_WITH_ZEROS = (WipeAlgorithm.ZERO, WipeAlgorithm.NNSA, WipeAlgorithm.TRIM)


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[volary.Connection]:
    with (
        small_extents(),
        volary.open(state_dir=tmp_path / "state", settings=TALKATIVE) as connection,
    ):
        yield connection


@pytest.fixture
def volume(pool: volary.Pool) -> volary.Volume:
    volume = pool.create_volume(VolumeSpec("a", capacity=SIZE))
    volume.upload([DATA])
    return volume


@pytest.mark.parametrize("algorithm", WipeAlgorithm)
def test_nothing_is_left_of_what_is_wiped(volume: volary.Volume, algorithm: WipeAlgorithm) -> None:
    volume.wipe(algorithm)
    after = contents(volume)
    assert len(after) == SIZE
    assert not any(after[at : at + 64] == b"x" * 64 for at in range(0, SIZE, 64))
    assert (after == bytes(SIZE)) == (algorithm in ENDS_WITH_ZEROS)
    assert (volume.info().format, volume.info().capacity) == ("raw", SIZE)


def test_a_trimmed_volume_takes_no_space(volume: volary.Volume) -> None:
    volume.wipe(WipeAlgorithm.TRIM)
    assert volume.info().allocation == 0


def test_holes_stay_holes(pool: volary.Pool) -> None:
    volume = pool.create_volume(VolumeSpec("a", capacity=64 * EXTENT))
    volume.upload([Hole(32 * EXTENT), b"x" * EXTENT])
    before = volume.info().allocation
    volume.wipe()
    assert contents(volume) == bytes(64 * EXTENT)
    assert volume.info().allocation == before


def test_a_wiped_image_is_raw(pool: volary.Pool) -> None:
    volume = pool.create_volume(VolumeSpec("a", capacity=SIZE, format="qcow2"))
    size = volume.info().physical
    volume.wipe()
    info = volume.info()
    assert (info.format, info.capacity, info.image) == ("raw", size, None)
    assert pool.volume_infos() == (info,)


def test_a_cancelled_wipe_has_wiped_as_much_as_it_said(volume: volary.Volume) -> None:
    job = stopped_half_way(volume.pool, lambda tell: volume.wipe(flags=ASYNC, on_progress=tell))
    assert job.cancel()
    done = job.progress().done
    assert 0 < done < SIZE
    assert contents(volume) == bytes(done) + DATA[done:]
    volume.wipe()
    assert contents(volume) == bytes(SIZE)


def test_a_cancelled_wipe_of_an_image_leaves_no_image(pool: volary.Pool) -> None:
    volume = pool.create_volume(
        VolumeSpec("a", capacity=SIZE, format="qcow2", preallocation="full")
    )
    job = stopped_half_way(pool, lambda tell: volume.wipe(flags=ASYNC, on_progress=tell))
    assert volume.info().format == "qcow2"  # as it was told last
    assert job.cancel()
    assert volume.info().format == "raw"
    assert pool.volume_infos()[0].format == "raw"


def test_a_blocking_wipe_that_is_cancelled_says_how_far_it_came(
    volume: volary.Volume,
) -> None:
    def cancel(progress: volary.Progress) -> None:
        if progress.done:
            volume.pool.jobs()[-1].cancel()
            volume.pool.info()  # answered after the order was passed on

    with pytest.raises(volary.JobCancelled, match=f"{EXTENT} bytes were done, and are not undone"):
        volume.wipe(on_progress=cancel)
    assert contents(volume) == bytes(EXTENT) + DATA[EXTENT:]


@pytest.mark.parametrize("algorithm", [99, -1, "zero", None])
def test_an_unknown_algorithm_is_refused(volume: volary.Volume, algorithm: Any) -> None:
    with pytest.raises(volary.InvalidSpec, match=r"known: WipeAlgorithm\.ZERO"):
        volume.wipe(algorithm)
    assert contents(volume) == DATA


def test_what_is_not_there_is_not_wiped(pool: volary.Pool) -> None:
    with pytest.raises(volary.VolumeNotFound):
        volary.Volume(pool, "gone").wipe()


def test_a_volume_is_zeroed_before_it_is_deleted(volume: volary.Volume) -> None:
    fd = os.open(volume.path, os.O_RDONLY)
    try:
        volume.delete(VolumeDelete.ZEROED)
        assert volume.pool.volumes() == []
        assert os.listdir(volume.pool.target) == []
        assert os.pread(fd, 2 * SIZE, 0) == bytes(SIZE)
    finally:
        os.close(fd)


def test_a_zeroed_deletion_that_is_cancelled_leaves_the_volume(volume: volary.Volume) -> None:
    job = volume.delete(VolumeDelete.ZEROED | ASYNC)
    job.limit(1)
    if job.cancel():
        done = job.progress().done
        assert contents(volume) == bytes(done) + DATA[done:]
        assert volume.pool.volumes() == [volume]
        volume.delete()
    assert volume.pool.volumes() == []
