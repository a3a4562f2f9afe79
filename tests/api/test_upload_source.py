from __future__ import annotations

import asyncio
import gzip
import io
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import volary
from volary import ASYNC, Hole, InvalidSpec, TransferFailed, VolumeSpec
from volary.api.upload_source import open_source
from volary.engine.formats.raw_transfer import FileSource
from volary.engine.pipe import Pipe

MIB = 1 << 20
DATA = bytes(range(256)) * 5000


@pytest.fixture
def volume(pool: volary.Pool) -> volary.Volume:
    return pool.create_volume(VolumeSpec("a.raw", capacity="64 MiB"))


def held(volume: volary.Volume, length: int = len(DATA)) -> bytes:
    with open(volume.path, "rb") as file:
        return file.read(length)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    return path


def test_a_path_is_uploaded(volume: volary.Volume, path: Path) -> None:
    volume.upload(path)
    assert held(volume) == DATA
    volume.upload(str(path), offset=1)
    assert held(volume) == (DATA[:1] + DATA)[: len(DATA)]


def test_holes_of_a_file_become_holes(volume: volary.Volume, tmp_path: Path) -> None:
    volume.upload([bytes(8 * MIB)])
    with open(tmp_path / "sparse", "wb") as file:
        file.write(DATA)
        file.truncate(64 * MIB)
    volume.upload(tmp_path / "sparse")
    assert held(volume, 64 * MIB) == DATA + bytes(64 * MIB - len(DATA))
    assert volume.info().allocation < 2 * MIB


def test_a_file_object_is_read_from_where_it_is(volume: volary.Volume, path: Path) -> None:
    with open(path, "rb") as file:
        file.seek(1000)
        volume.upload(file)
        assert file.tell() == 1000
    assert held(volume, len(DATA) - 1000) == DATA[1000:]


def test_what_was_written_to_a_file_object_is_uploaded_too(volume: volary.Volume) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"not flushed yet")
        file.seek(4)
        volume.upload(file)
    assert held(volume, 11) == b"flushed yet"


def test_a_regular_file_needs_no_pump(path: Path) -> None:
    with open(path, "rb") as file, open(path, "rb", buffering=0) as raw:
        for source in (path, file, raw):
            opened = open_source(source, blocks=True)
            assert isinstance(opened, FileSource)
            opened.close()


def test_a_file_object_that_changes_what_it_reads_is_read_through(
    volume: volary.Volume, tmp_path: Path
) -> None:
    with gzip.open(tmp_path / "a.gz", "wb") as packed:
        packed.write(DATA)
    with gzip.open(tmp_path / "a.gz", "rb") as file:
        volume.upload(file)
    assert held(volume) == DATA


def test_an_object_that_can_be_read_is_enough(volume: volary.Volume) -> None:
    volume.upload(io.BytesIO(DATA))
    assert held(volume) == DATA


def test_a_named_pipe_is_read_to_its_end(volume: volary.Volume, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    job = volume.upload(tmp_path / "fifo", ASYNC)
    (tmp_path / "fifo").write_bytes(DATA)
    job.result()
    assert held(volume) == DATA


def test_an_iterable_may_yield_holes(volume: volary.Volume) -> None:
    volume.upload([b"first", Hole(MIB), bytearray(b"second"), memoryview(b"third")])
    assert held(volume, MIB + 16) == b"first" + bytes(MIB) + b"secondthird"


def test_a_buffer_that_is_used_again_is_copied_before(volume: volary.Volume) -> None:
    def reading() -> Iterator[bytearray]:
        buffer = bytearray(4)
        for word in (b"once", b"more", b"here"):
            buffer[:] = word
            yield buffer

    volume.upload(reading())
    assert held(volume, 12) == b"oncemorehere"


def test_an_iterators_error_is_the_cause_and_says_how_far_it_came(volume: volary.Volume) -> None:
    def failing() -> Iterator[bytes]:
        yield DATA
        raise ConnectionResetError("the peer is gone")

    with pytest.raises(TransferFailed, match="the peer is gone") as caught:
        volume.upload(failing())
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert caught.value.done == len(DATA)
    assert held(volume) == DATA


def test_a_chunk_that_is_no_bytes_is_refused(volume: volary.Volume) -> None:
    with pytest.raises(TransferFailed, match="gave str, and not bytes or a Hole"):
        volume.upload(["text"])  # type: ignore[list-item]  # on purpose
    with pytest.raises(TransferFailed, match="the length of a hole"):
        volume.upload([Hole(-1)])


def test_an_iterator_is_closed_when_the_upload_is_cancelled(volume: volary.Volume) -> None:
    closed, reading = threading.Event(), threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 4096
                reading.set()
        finally:
            closed.set()

    job = volume.upload(endless(), ASYNC)
    job.limit(MIB)
    assert reading.wait(10)
    assert job.cancel()
    assert closed.wait(10)


def test_an_iterator_is_closed_when_the_volume_is_not_there(volume: volary.Volume) -> None:
    closed = threading.Event()

    def source() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(MIB)
        finally:
            closed.set()

    volume.delete()
    with pytest.raises(volary.VolumeNotFound):
        volume.upload(source())
    assert closed.wait(10)


def test_an_asynchronous_iterable_is_read_by_the_running_loop(volume: volary.Volume) -> None:
    async def content() -> AsyncIterator[bytes | Hole]:
        for start in range(0, len(DATA), 1000):
            await asyncio.sleep(0)
            yield DATA[start : start + 1000]
        yield Hole(5)

    async def main() -> None:
        await volume.upload(content(), ASYNC)

    asyncio.run(main())
    assert held(volume) == DATA


def test_the_loop_goes_on_while_an_asynchronous_iterable_is_ahead(volume: volary.Volume) -> None:
    async def content() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(MIB)

    async def main() -> int:
        job = volume.upload(content(), ASYNC)
        turns = 0
        while not job.done():
            turns += 1
            await asyncio.sleep(0.001)
        await job
        return turns

    assert asyncio.run(main()) > 1


def test_an_asynchronous_iterables_error_is_the_cause(volume: volary.Volume) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"some"
        raise ConnectionResetError("the peer is gone")

    async def main() -> None:
        await volume.upload(failing(), ASYNC)

    with pytest.raises(TransferFailed, match="the peer is gone") as caught:
        asyncio.run(main())
    assert caught.value.done == 4


def test_an_asynchronous_iterable_that_waits_is_closed_when_the_job_is_cancelled(
    volume: volary.Volume,
) -> None:
    async def main() -> str:
        closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        begun = asyncio.Event()

        async def waiting() -> AsyncIterator[bytes]:
            try:
                yield b"some"
                begun.set()
                await asyncio.Event().wait()
            finally:
                closed.set_result("closed")

        job = volume.upload(waiting(), ASYNC)
        await begun.wait()
        job.cancel()
        return await asyncio.wait_for(closed, 10)

    assert asyncio.run(main()) == "closed"


def test_a_loop_that_ends_fails_the_upload(volume: volary.Volume) -> None:
    async def waiting() -> AsyncIterator[bytes]:
        yield b"some"
        await asyncio.Event().wait()

    async def main() -> volary.Job[None]:
        return volume.upload(waiting(), ASYNC)

    job = asyncio.run(main())
    with pytest.raises(TransferFailed, match="Cancelled"):
        job.result(10)


def test_an_asynchronous_iterable_needs_a_loop_and_no_blocking_call(
    volume: volary.Volume,
) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b""

    with pytest.raises(InvalidSpec, match="call this in a coroutine"):
        volume.upload(content(), ASYNC)

    async def main() -> None:
        volume.upload(content())

    with pytest.raises(InvalidSpec, match="add the flag ASYNC"):
        asyncio.run(main())


@pytest.mark.parametrize("source", [b"bytes", 7, None, io.StringIO("text")])
def test_what_is_no_source_is_refused(source: object) -> None:
    with pytest.raises(InvalidSpec):
        open_source(source, blocks=True)  # type: ignore[arg-type]  # on purpose


def test_a_path_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(volary.VolaryError, match=r"missing.*No such file"):
        open_source(tmp_path / "missing", blocks=True)


def test_a_path_is_opened_when_the_upload_begins(path: Path) -> None:
    source = open_source(path, blocks=True)
    assert isinstance(source, FileSource)
    assert source.fd == -1
    source.open()
    assert os.pread(source.fd, 10, 0) == DATA[:10]
    source.close()
    assert source.fd == -1


def test_a_relative_path_stays_what_it_was(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = open_source(path.name, blocks=True)
    assert isinstance(source, FileSource)
    monkeypatch.chdir("/")
    source.open()
    source.close()


def test_a_path_that_is_gone_when_the_upload_begins_is_an_error_that_names_it(path: Path) -> None:
    source = open_source(path, blocks=True)
    assert isinstance(source, FileSource)
    path.unlink()
    with pytest.raises(volary.VolaryError, match=r"data to upload it: No such file"):
        source.open()


def test_a_named_pipe_in_the_place_of_the_file_is_not_waited_for(path: Path) -> None:
    source = open_source(path, blocks=True)
    assert isinstance(source, FileSource)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InvalidSpec, match="was a regular file"):
        source.open()
    source.close()


def test_a_directory_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="is a directory"):
        open_source(tmp_path, blocks=True)


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_a_string_that_is_no_path_is_no_source(path: str) -> None:
    with pytest.raises(InvalidSpec, match="is no path"):
        open_source(path, blocks=True)


def test_a_pipe_is_used_for_all_else() -> None:
    source = open_source([b"data"], blocks=True)
    assert isinstance(source, Pipe)
    assert source.take(10) == b"data"
