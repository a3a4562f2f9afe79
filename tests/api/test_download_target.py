from __future__ import annotations

import gzip
import io
import os
import stat
from pathlib import Path
from threading import Event, Thread

import pytest

import volary
from volary import ASYNC, InvalidSpec, TransferFailed, VolumeSpec
from volary.api.download_target import open_target
from volary.engine.formats.raw_transfer import FileSink

MIB = 1 << 20
DATA = bytes(range(256)) * 5000


@pytest.fixture
def volume(pool: volary.Pool) -> volary.Volume:
    volume = pool.create_volume(VolumeSpec("a.raw", capacity="64 MiB"))
    volume.upload([DATA], offset=MIB)
    return volume


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.mkdir()
    return path


def content(volume: volary.Volume) -> bytes:
    return Path(volume.path).read_bytes()


def test_a_path_gets_all_of_it_with_its_holes(volume: volary.Volume, folder: Path) -> None:
    assert volume.download(folder / "copy") == 64 * MIB
    assert (folder / "copy").read_bytes() == content(volume)
    assert (folder / "copy").stat().st_blocks * 512 < 2 * MIB
    assert os.listdir(folder) == ["copy"]


def test_a_part_is_downloaded(volume: volary.Volume, folder: Path) -> None:
    assert volume.download(str(folder / "copy"), offset=MIB + 1, length=1000) == 1000
    assert (folder / "copy").read_bytes() == DATA[1:1001]


def test_a_file_that_is_there_is_replaced_and_keeps_its_permissions(
    volume: volary.Volume, folder: Path
) -> None:
    (folder / "copy").write_bytes(b"old" * MIB * 30)
    (folder / "copy").chmod(0o640)
    volume.download(folder / "copy", length=5)
    assert (folder / "copy").read_bytes() == bytes(5)
    assert stat.S_IMODE((folder / "copy").stat().st_mode) == 0o640


def test_a_link_is_followed(volume: volary.Volume, folder: Path) -> None:
    (folder / "link").symlink_to("copy")
    volume.download(folder / "link", length=5)
    assert (folder / "link").is_symlink()
    assert (folder / "copy").read_bytes() == bytes(5)


def test_a_cancelled_download_leaves_what_was_there(volume: volary.Volume, folder: Path) -> None:
    (folder / "copy").write_bytes(b"old")
    volume.upload([bytes(64 * MIB)])
    running = Event()
    job = volume.download(folder / "copy", ASYNC, on_progress=lambda _: running.set())
    job.limit(1)
    assert running.wait(10)
    assert job.cancel()
    assert os.listdir(folder) == ["copy"]
    assert (folder / "copy").read_bytes() == b"old"


def test_a_download_of_a_volume_that_is_gone_leaves_nothing(
    volume: volary.Volume, folder: Path
) -> None:
    volume.delete()
    with pytest.raises(volary.VolumeNotFound):
        volume.download(folder / "copy")
    assert os.listdir(folder) == []


def test_a_name_as_long_as_can_be_has_room_to_be_hidden(
    volume: volary.Volume, folder: Path
) -> None:
    name = "ü" * 127
    volume.download(folder / name, length=5)
    assert os.listdir(folder) == [name]


def test_a_file_object_gets_all_of_it(volume: volary.Volume) -> None:
    target = io.BytesIO()
    assert volume.download(target) == 64 * MIB
    assert target.getvalue() == content(volume)


def test_a_file_object_is_written_from_where_it_is(volume: volary.Volume, folder: Path) -> None:
    with open(folder / "copy", "w+b") as file:
        file.write(b"header")
        volume.download(file, offset=MIB, length=100)
        file.write(b"trailer")
    assert (folder / "copy").read_bytes() == b"header" + DATA[:100] + b"trailer"


def test_what_is_written_is_flushed(volume: volary.Volume, folder: Path) -> None:
    with open(folder / "copy", "wb") as file:
        volume.download(file, offset=MIB, length=100)
        assert (folder / "copy").read_bytes() == DATA[:100]


def test_a_file_object_that_changes_what_it_writes_is_written_through(
    volume: volary.Volume, folder: Path
) -> None:
    with gzip.open(folder / "copy.gz", "wb", compresslevel=1) as file:
        volume.download(file)
    assert gzip.decompress((folder / "copy.gz").read_bytes()) == content(volume)


def test_an_object_that_writes_in_parts_gets_everything(volume: volary.Volume) -> None:
    class Slow:
        def __init__(self) -> None:
            self.got = bytearray()

        def write(self, data: bytes, /) -> int:
            self.got += data[:70_000]
            return min(70_000, len(data))

    target = Slow()
    volume.download(target, length=3 * MIB)
    assert target.got == content(volume)[: 3 * MIB]


def test_an_objects_error_is_the_cause(volume: volary.Volume) -> None:
    class Failing:
        def write(self, data: bytes, /) -> int:
            raise ConnectionResetError("the peer is gone")

    with pytest.raises(TransferFailed, match="the peer is gone") as caught:
        volume.download(Failing())
    assert isinstance(caught.value.__cause__, ConnectionResetError)


def test_a_named_pipe_is_written_to(volume: volary.Volume, folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    got: list[bytes] = []
    reader = Thread(target=lambda: got.append((folder / "fifo").read_bytes()))
    reader.start()
    volume.download(folder / "fifo")
    reader.join(10)
    assert got == [content(volume)]


def test_a_directory_is_no_target(folder: Path) -> None:
    with pytest.raises(InvalidSpec, match="is a directory"):
        open_target(folder)


def test_a_path_whose_directory_is_missing_is_an_error_that_names_it(folder: Path) -> None:
    with pytest.raises(volary.VolaryError, match="missing/copy to download into it"):
        open_target(folder / "missing" / "copy")


@pytest.mark.parametrize("target", [b"bytes", 7, None, io.StringIO("text")])
def test_what_is_no_target_is_refused(target: object) -> None:
    with pytest.raises(InvalidSpec):
        open_target(target)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_a_string_that_is_no_path_is_no_target(path: str) -> None:
    with pytest.raises(InvalidSpec, match="is no path"):
        open_target(path)


def test_a_download_that_has_not_begun_has_made_no_file(folder: Path) -> None:
    target = open_target(folder / "copy")
    assert isinstance(target.sink, FileSink)
    assert (target.sink.fd, os.listdir(folder)) == (-1, [])
    target.sink.open()
    assert len(os.listdir(folder)) == 1
    target.close()
    assert (target.sink.fd, os.listdir(folder)) == (-1, [])


def test_a_transfer_that_waits_for_its_turn_holds_nothing(tmp_path: Path, folder: Path) -> None:
    settings = volary.Settings(transfers_per_pool=1)
    with volary.open(state_dir=tmp_path / "state", settings=settings) as conn:
        pool = conn.create_pool(
            volary.PoolSpec("images", target=tmp_path / "images"), volary.PoolStart.BUILD
        )
        first, second, third = (
            pool.create_volume(VolumeSpec(name, capacity="1 MiB")) for name in "abc"
        )
        (tmp_path / "data").write_bytes(DATA[:MIB])
        first.upload([DATA[:MIB]])
        busy = first.download(folder / "first", ASYNC)
        busy.pause()
        waiting: list[volary.Job[int] | volary.Job[None]] = [
            second.download(folder / "second", ASYNC),
            third.upload(tmp_path / "data", ASYNC),
        ]
        held = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
        assert not [name for name in os.listdir(folder) if "second" in name]
        assert str(tmp_path / "data") not in held
        assert all(job.cancel() for job in waiting)
        busy.resume()
        busy.result()
        assert os.listdir(folder) == ["first"]
