from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.system.crash import crash
from tests.system.half_way import TALKATIVE, stopped_half_way
from tests.system.small_extents import EXTENT, small_extents

import volary
from volary import ASYNC, PoolSpec, PoolStart, VolumeResize, VolumeSpec

SIZE = 16 * EXTENT


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[volary.Connection]:
    with (
        small_extents(),
        volary.open(state_dir=tmp_path / "state", settings=TALKATIVE) as connection,
    ):
        yield connection


@pytest.fixture
def other(conn: volary.Connection, tmp_path: Path) -> volary.Pool:
    return conn.create_pool(PoolSpec("other", target=tmp_path / "other"), PoolStart.BUILD)


@pytest.fixture
def source(pool: volary.Pool) -> volary.Volume:
    volume = pool.create_volume(VolumeSpec("source", capacity=SIZE))
    volume.upload([b"x" * SIZE])
    return volume


def clone_half_way(other: volary.Pool, source: volary.Volume) -> volary.Job[volary.Volume]:
    """Return a clone into another pool that stands still."""
    return stopped_half_way(
        other,
        lambda tell: other.clone_volume(source, VolumeSpec("clone"), ASYNC, on_progress=tell),
    )


WRITES: dict[str, Callable[[volary.Volume], object]] = {
    "delete": lambda volume: volume.delete(),
    "delete zeroed": lambda volume: volume.delete(volary.VolumeDelete.ZEROED),
    "resize": lambda volume: volume.resize(2 * SIZE),
    "shrink": lambda volume: volume.resize(1, VolumeResize.SHRINK),
    "wipe": lambda volume: volume.wipe(),
    "upload": lambda volume: volume.upload([b"y"]),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_volume_that_is_cloned_is_not_written(
    source: volary.Volume, other: volary.Pool, write: str
) -> None:
    job = clone_half_way(other, source)
    with pytest.raises(volary.VolumeBusy, match=rf"'source'.*job {job.id} \(clone volume\)"):
        WRITES[write](source)
    job.resume()
    assert Path(job.result(20).path).read_bytes() == b"x" * SIZE


def test_a_volume_that_is_cloned_is_looked_at_and_read(
    pool: volary.Pool, source: volary.Volume, other: volary.Pool, tmp_path: Path
) -> None:
    job = clone_half_way(other, source)
    assert source.info().capacity == SIZE
    assert pool.volume("source") == source
    pool.refresh()
    assert pool.volumes() == [source]
    assert source.download(tmp_path / "copy") == SIZE
    second = pool.clone_volume(source, VolumeSpec("second"))
    assert Path(second.path).read_bytes() == b"x" * SIZE
    assert not job.done()
    assert job.cancel()


def end_well(job: volary.Job[volary.Volume], source: volary.Volume) -> None:
    job.resume()
    job.result(20)


def cancel(job: volary.Job[volary.Volume], source: volary.Volume) -> None:
    assert job.cancel()


def fail(job: volary.Job[volary.Volume], source: volary.Volume) -> None:
    os.truncate(source.path, EXTENT)
    job.resume()
    assert isinstance(job.exception(20), volary.StorageFailed)


@pytest.mark.parametrize("end", [end_well, cancel, fail])
def test_a_source_is_free_when_its_clone_ends(
    source: volary.Volume,
    other: volary.Pool,
    end: Callable[[volary.Job[volary.Volume], volary.Volume], None],
) -> None:
    end(clone_half_way(other, source), source)
    source.delete()


def test_a_source_stays_leased_when_its_pool_crashes(
    pool: volary.Pool, source: volary.Volume, other: volary.Pool
) -> None:
    job = clone_half_way(other, source)
    crash(pool)
    with pytest.raises(volary.VolumeBusy, match=f"job {job.id}"):
        source.delete()
    job.resume()
    assert Path(job.result(20).path).read_bytes() == b"x" * SIZE
    source.delete()


def test_a_source_is_free_when_the_pool_of_its_clone_crashes(
    source: volary.Volume, other: volary.Pool
) -> None:
    job = clone_half_way(other, source)
    crash(other)
    assert isinstance(job.exception(20), volary.PoolCrashed)
    assert other.volumes() == []
    source.delete()


def test_a_pool_whose_volume_another_one_reads_is_not_stopped(
    pool: volary.Pool, source: volary.Volume, other: volary.Pool
) -> None:
    job = clone_half_way(other, source)
    with pytest.raises(
        volary.PoolBusy, match=rf"'images'.*{job.id} \(clone volume, pool 'other'\)"
    ):
        pool.stop()
    assert pool.is_active
    job.cancel()
    pool.stop()


def test_a_source_is_free_when_its_clone_is_refused(
    source: volary.Volume, other: volary.Pool
) -> None:
    other.create_volume(VolumeSpec("clone", capacity=1))
    with pytest.raises(volary.VolumeExists):
        other.clone_volume(source, VolumeSpec("clone"))
    source.delete()


def test_a_source_is_free_when_the_pool_of_its_clone_is_stopped(
    source: volary.Volume, conn: volary.Connection, tmp_path: Path
) -> None:
    stopped = conn.define_pool(PoolSpec("stopped", target=tmp_path / "stopped"))
    with pytest.raises(volary.PoolInactive):
        stopped.clone_volume(source, VolumeSpec("clone"))
    source.delete()


def test_a_volume_that_is_written_is_not_cloned(source: volary.Volume, other: volary.Pool) -> None:
    job = stopped_half_way(source.pool, lambda tell: source.wipe(flags=ASYNC, on_progress=tell))
    with pytest.raises(volary.VolumeBusy, match=rf"'source'.*job {job.id} \(wipe volume\)"):
        other.clone_volume(source, VolumeSpec("clone"))
    assert other.volumes() == []
    job.resume()
    job.result(20)
    assert Path(other.clone_volume(source, VolumeSpec("clone")).path).read_bytes() == bytes(SIZE)


def test_all_that_a_source_is_backed_by_is_leased(
    pool: volary.Pool, source: volary.Volume, other: volary.Pool, need_tool: Callable[..., str]
) -> None:
    need_tool("qemu-img", "qemu-utils")
    backing = volary.BackingFile(source.path)
    overlay = pool.create_volume(VolumeSpec("overlay", format="qcow2", backing=backing))
    job = other.clone_volume(overlay, VolumeSpec("clone"), ASYNC)
    job.limit(1)  # it is far from done when it is asked for
    job.pause()
    with pytest.raises(volary.VolumeBusy, match=f"job {job.id}"):
        source.wipe()
    job.cancel()
    source.wipe()
