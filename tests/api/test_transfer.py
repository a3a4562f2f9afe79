from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.system.crash import wait_for_restart
from tests.system.half_way import TALKATIVE, stopped_half_way
from tests.system.host_image import MIB, contents, qcow2_image
from tests.system.small_extents import EXTENT, small_extents

import volary
from volary import ASYNC, Hole, VolumeSpec
from volary.engine.actors.worker_actor import WorkerActor

SIZE = 16 * EXTENT
OLD = b"o" * SIZE
NEW = b"n" * SIZE


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
    volume.upload([OLD])
    return volume


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "new"
    path.write_bytes(NEW)
    return path


def breaking(*chunks: bytes) -> Iterator[bytes]:
    yield from chunks
    raise RuntimeError("no more")


@pytest.mark.parametrize("offset", [0, 1, 4096, EXTENT + 5])
def test_a_cancelled_upload_has_written_as_much_as_it_said(
    volume: volary.Volume, path: Path, offset: int
) -> None:
    path.write_bytes(NEW[offset:])
    job = stopped_half_way(
        volume.pool,
        lambda tell: volume.upload(path, ASYNC, offset=offset, on_progress=tell),
    )
    assert job.cancel()
    end = offset + job.progress().done
    assert offset < end < SIZE
    assert contents(volume) == OLD[:offset] + NEW[offset:end] + OLD[end:]


def test_an_upload_that_fails_says_how_far_it_came(volume: volary.Volume) -> None:
    with pytest.raises(volary.TransferFailed, match=r"no more.*100 bytes from offset 7 on") as at:
        volume.upload(breaking(b"n" * 40, b"n" * 60), offset=7)
    assert at.value.done == 100
    assert contents(volume) == OLD[:7] + NEW[:100] + OLD[107:]


def test_an_upload_of_more_than_there_is_room_for_stops_at_the_end(
    volume: volary.Volume,
) -> None:
    with pytest.raises(volary.TransferFailed, match="up to the volume's end") as at:
        volume.upload([b"n" * 4096, b"n" * SIZE])
    assert at.value.done == 4096
    assert contents(volume) == NEW[:4096] + OLD[4096:]


def test_a_file_that_is_too_large_is_refused_before_anything_is_written(
    volume: volary.Volume, path: Path
) -> None:
    with pytest.raises(volary.TransferFailed) as at:
        volume.upload(path, offset=1)
    assert at.value.done == 0
    assert contents(volume) == OLD


@pytest.mark.parametrize("length", [99, 101])
def test_a_source_has_the_length_that_is_said(volume: volary.Volume, length: int) -> None:
    with pytest.raises(volary.TransferFailed):
        volume.upload([b"n" * 100], length=length)
    assert contents(volume)[100:] == OLD[100:]


@pytest.mark.parametrize(("offset", "length"), [(SIZE + 1, None), (SIZE, 1), (0, SIZE + 1)])
def test_a_place_outside_of_the_volume_is_refused(
    volume: volary.Volume, tmp_path: Path, offset: int, length: int | None
) -> None:
    with pytest.raises(volary.InvalidSpec):
        volume.upload([b""], offset=offset, length=length)
    with pytest.raises(volary.InvalidSpec):
        volume.download(tmp_path / "part", offset=offset, length=length)
    assert contents(volume) == OLD
    assert not (tmp_path / "part").exists()
    volume.delete()


def test_an_uploaded_hole_takes_no_space(volume: volary.Volume) -> None:
    volume.upload([Hole(SIZE // 2)])
    assert contents(volume) == bytes(SIZE // 2) + OLD[SIZE // 2 :]
    assert volume.info().allocation <= SIZE // 2 + EXTENT


def test_an_uploaded_image_is_recognised(volume: volary.Volume, tmp_path: Path) -> None:
    volume.upload([qcow2_image(tmp_path)])
    info = volume.info()
    assert (info.format, info.capacity) == ("qcow2", MIB)
    assert volume.pool.volume_infos() == (info,)


def test_a_raw_image_may_be_uploaded_over_another_one(pool: volary.Pool) -> None:
    volume = pool.create_volume(VolumeSpec("a", capacity=MIB, format="qcow2"))
    volume.upload([NEW])
    info = volume.info()
    assert (info.format, info.capacity) == ("raw", info.physical)
    assert contents(volume)[:SIZE] == NEW


def test_the_file_of_an_image_grows_with_what_is_uploaded(
    pool: volary.Pool, tmp_path: Path
) -> None:
    volume = pool.create_volume(VolumeSpec("a", capacity=MIB, format="qcow2"))
    image = qcow2_image(tmp_path)
    volume.upload([image, b"x" * MIB])
    assert (volume.info().format, volume.info().capacity) == ("qcow2", MIB)
    assert contents(volume) == image + b"x" * MIB


def test_an_upload_is_recognised_though_its_pool_crashes_at_its_end(
    volume: volary.Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = qcow2_image(tmp_path)
    volume.resize(len(image), volary.VolumeResize.SHRINK)
    finish = WorkerActor._finish

    def crash_first(worker: WorkerActor, result: object) -> None:
        actor = volume.pool.ref._actor
        assert actor is not None
        actor.tell(object())  # which it does not know
        actor.actor_stopped.wait(20)
        finish(worker, result)

    monkeypatch.setattr(WorkerActor, "_finish", crash_first)
    path = tmp_path / "image"
    path.write_bytes(image)
    job = volume.upload(path, ASYNC)
    assert job.exception(20) is None
    monkeypatch.undo()
    wait_for_restart(volume.pool, job.id)
    assert contents(volume) == image
    assert [info.format for info in volume.pool.volume_infos()] == ["qcow2"]


HELD: dict[str, Callable[[volary.Volume], object]] = {
    "delete": lambda volume: volume.delete(),
    "resize": lambda volume: volume.resize(1),
    "wipe": lambda volume: volume.wipe(),
    "second upload": lambda volume: volume.upload([b"x"]),
    "clone": lambda volume: volume.pool.clone_volume(volume, VolumeSpec("clone")),
    "download": lambda volume: volume.download("/dev/null"),
}


@pytest.mark.parametrize("call", HELD)
def test_a_volume_that_is_uploaded_to_is_busy(
    volume: volary.Volume, path: Path, call: str
) -> None:
    job = stopped_half_way(volume.pool, lambda tell: volume.upload(path, ASYNC, on_progress=tell))
    with pytest.raises(volary.VolumeBusy, match=rf"job {job.id} \(upload volume\)"):
        HELD[call](volume)
    assert volume.info().capacity == SIZE
    assert volume.pool.volumes() == [volume]
    job.resume()
    job.result(20)
    assert contents(volume) == NEW


def test_a_volume_is_listed_as_it_was_while_it_is_uploaded_to(
    volume: volary.Volume, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    path.write_bytes(qcow2_image(tmp_path).ljust(SIZE, b"x"))
    job = stopped_half_way(volume.pool, lambda tell: volume.upload(path, ASYNC, on_progress=tell))
    volume.pool.refresh()
    assert [info.format for info in volume.pool.volume_infos()] == ["raw"]
    job.resume()
    job.result(20)
    assert [info.format for info in volume.pool.volume_infos()] == ["qcow2"]


def test_a_cancelled_download_leaves_no_file(volume: volary.Volume, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    job = stopped_half_way(
        volume.pool,
        lambda tell: volume.download(folder / "copy", ASYNC, on_progress=tell),
    )
    assert job.cancel()
    assert os.listdir(folder) == []
    volume.delete()


def test_a_download_that_fails_says_how_far_it_came(volume: volary.Volume, tmp_path: Path) -> None:
    job = stopped_half_way(
        volume.pool,
        lambda tell: volume.download(tmp_path / "copy", ASYNC, on_progress=tell),
    )
    os.truncate(volume.path, 2 * EXTENT)
    job.resume()
    error = job.exception(20)
    assert isinstance(error, volary.TransferFailed)
    assert error.done == 2 * EXTENT
    assert not (tmp_path / "copy").exists()


def test_a_source_that_does_not_block_is_no_source(volume: volary.Volume) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.write(writing, b"x" * 1000)
    try:
        with open(reading, "rb", buffering=0) as source:
            with pytest.raises(volary.TransferFailed) as raised:
                volume.upload(source)
            assert raised.value.done == 1000
    finally:
        os.close(writing)


def test_a_target_that_does_not_block_is_no_target(volume: volary.Volume) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        with open(writing, "wb", buffering=0) as target, pytest.raises(volary.TransferFailed):
            volume.download(target)
    finally:
        os.close(reading)


def test_a_downloaded_file_is_its_owners_business(volume: volary.Volume, tmp_path: Path) -> None:
    volume.download(tmp_path / "out")
    assert os.stat(tmp_path / "out").st_mode & 0o777 == 0o600


def test_a_download_into_a_pool_is_no_volume_before_it_is_whole(
    pool: volary.Pool, volume: volary.Volume, target: Path
) -> None:
    volume.upload([b"x" * SIZE])
    job = volume.download(target / "copy", ASYNC)
    job.pause()
    pool.refresh()
    assert {found.name for found in pool.volumes()} <= {"a", "copy"}
    job.resume()
    job.result(20)
    assert (target / "copy").read_bytes() == Path(volume).read_bytes()
