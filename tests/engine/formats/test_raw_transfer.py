from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.formats.driven import driven
from tests.engine.formats.sparse_file import (
    KIB,
    MIB,
    Pieces,
    blocks,
    bytes_of,
    content,
    data_map,
    pieces,
    sparse_file,
)

from volary.engine.errors import InvalidSpec, TransferFailed
from volary.engine.formats.data_runs import data_runs
from volary.engine.formats.raw_transfer import (
    CHUNK,
    FileSink,
    FileSource,
    Source,
    download,
    upload,
)
from volary.engine.hole import Hole
from volary.engine.linux import fallocate
from volary.engine.pipe import END, Pipe, PipeClosed, PipeFailed
from volary.engine.progress import Done, Operation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("transfer")


@contextmanager
def volume(folder: Path, size: int, *, full: bool = False) -> Iterator[int]:
    with sparse_file(folder / "volume", size, [(0, size)] if full else []) as fd:
        yield fd


@contextmanager
def source_file(folder: Path, size: int, data: Pieces, position: int = 0) -> Iterator[FileSource]:
    with sparse_file(folder / "source", size, data) as fd:
        yield FileSource(os.dup(fd), position)


def pipe_of(*chunks: bytes | Hole, end: bool = True) -> Pipe:
    pipe = Pipe(1 << 40)
    for chunk in chunks:
        pipe.put(chunk)
    if end:
        pipe.end()
    return pipe


def poured(
    fd: int, source: Source, *, offset: int = 0, length: int | None = None
) -> Operation[int]:
    capacity = os.fstat(fd).st_size
    return upload(fd, source, offset=offset, length=length, capacity=capacity)


# Uploads.


@given(layout=pieces(MIB), offset=st.integers(0, 20_000), position=st.integers(0, 20_000))
def test_a_file_is_uploaded_with_its_holes(
    folder: Path, layout: tuple[int, Pieces], offset: int, position: int
) -> None:
    size, data = layout
    with (
        volume(folder, 1200 * KIB, full=True) as fd,
        sparse_file(folder / "source", size, data) as given_fd,
    ):
        before = bytes_of(fd)
        sent = bytes_of(given_fd)[position:]
        done = driven(poured(fd, FileSource(os.dup(given_fd), position), offset=offset))
        assert done == len(sent)
        assert bytes_of(fd) == before[:offset] + sent + before[offset + len(sent) :]
        if offset == position == 0:
            # What is left of the block that the source ends in is the volume's.
            end = size // 4096 * 4096
            assert list(data_runs(fd, 0, end)) == list(data_runs(given_fd, 0, end))


@given(
    chunks=st.lists(
        st.builds(content, st.integers(0, 30_000), st.integers(0, 99))
        | st.builds(Hole, st.integers(0, 30_000)),
        max_size=10,
    ),
    offset=st.integers(0, 20_000),
)
def test_what_comes_through_a_pipe_is_written(
    folder: Path, chunks: list[bytes | Hole], offset: int
) -> None:
    with volume(folder, 400 * KIB, full=True) as fd:
        before = bytes_of(fd)
        sent = b"".join(bytes(c.length) if isinstance(c, Hole) else c for c in chunks)
        done = driven(poured(fd, pipe_of(*chunks), offset=offset, length=len(sent)))
        assert done == len(sent)
        assert bytes_of(fd) == before[:offset] + sent + before[offset + len(sent) :]


def test_chunks_larger_than_an_extent_are_written_whole(folder: Path) -> None:
    data = content(20 * MIB + 5)
    with volume(folder, 32 * MIB) as fd:
        assert driven(poured(fd, pipe_of(data[:7], data[7:]), offset=3)) == len(data)
        assert os.pread(fd, len(data), 3) == data


def test_a_hole_gives_back_what_it_lies_on(folder: Path) -> None:
    with volume(folder, 4 * MIB, full=True) as fd:
        driven(poured(fd, pipe_of(Hole(3 * MIB)), offset=MIB))
        assert blocks(fd) == MIB


def test_a_hole_on_what_was_reserved_leaves_it_reserved(folder: Path) -> None:
    with volume(folder, 4 * MIB) as fd:
        fallocate(fd, 0, 4 * MIB)
        driven(poured(fd, pipe_of(Hole(4 * MIB))))
        assert blocks(fd) == 4 * MIB


def test_what_is_said_to_be_written_is_in_a_file_that_grows(folder: Path) -> None:
    pipe = pipe_of(content(5000), Hole(MIB), end=False)
    pipe.fail(ValueError("the network is gone"))
    with volume(folder, 2000) as fd:
        work = upload(fd, pipe, offset=0, length=None, capacity=1 << 40)
        with pytest.raises(TransferFailed) as caught:
            driven(work)
        assert caught.value.done == os.fstat(fd).st_size == 5000 + MIB


def test_many_small_runs_are_uploaded_in_few_steps(folder: Path) -> None:
    size = 16 * MIB
    data = [(n * 16 * KIB, 4 * KIB) for n in range(1000)]
    with volume(folder, size, full=True) as fd, source_file(folder, size, data) as source:
        expected = bytes_of(source.fd)
        told: list[Done] = []
        driven(poured(fd, source), told)
        assert bytes_of(fd) == expected
        assert blocks(fd) == 1000 * 4 * KIB
        assert len(told) < 250


def test_a_source_that_is_larger_than_the_volume_writes_nothing(folder: Path) -> None:
    with volume(folder, MIB) as fd, source_file(folder, MIB + 1, [(0, MIB)]) as source:
        with pytest.raises(TransferFailed, match="has more than the 1048576 bytes") as caught:
            driven(poured(fd, source))
        assert caught.value.done == 0
        assert blocks(fd) == 0


def test_a_file_that_is_shorter_than_asked_for_writes_nothing(folder: Path) -> None:
    with volume(folder, MIB) as fd, source_file(folder, 100, [(0, 100)]) as source:
        with pytest.raises(TransferFailed, match="only 100 bytes, and 101 were asked for"):
            driven(poured(fd, source, length=101))
        assert blocks(fd) == 0


@pytest.mark.parametrize("more", [b"x" * 6, Hole(6)])
@pytest.mark.parametrize("length", [None, 10])
def test_nothing_is_written_beyond_the_end(
    folder: Path, more: bytes | Hole, length: int | None
) -> None:
    size = length or 4096
    with volume(folder, 4096, full=True) as fd:
        before = bytes_of(fd)
        first = content(size - 5, 7)
        with pytest.raises(TransferFailed, match=f"more than the {size} bytes") as caught:
            driven(poured(fd, pipe_of(first, more), length=length))
        assert caught.value.done == size - 5
        assert bytes_of(fd) == first + before[size - 5 :]


def test_a_pipe_that_ends_too_soon_is_an_error_that_says_how_far_it_came(folder: Path) -> None:
    with volume(folder, MIB) as fd:
        with pytest.raises(TransferFailed, match="ended before the 2000 bytes") as caught:
            driven(poured(fd, pipe_of(content(1234)), offset=1, length=2000))
        assert caught.value.done == 1234
        assert os.pread(fd, 1234, 1) == content(1234)


def test_a_producers_error_is_the_cause_and_what_came_before_is_written(folder: Path) -> None:
    error = ValueError("the network is gone")
    pipe = pipe_of(content(5000), end=False)
    pipe.fail(error)
    with volume(folder, MIB) as fd:
        with pytest.raises(TransferFailed, match="the network is gone") as caught:
            driven(poured(fd, pipe))
        assert caught.value.__cause__ is error
        assert caught.value.done == 5000
        assert os.pread(fd, 5000, 0) == content(5000)


def test_what_the_system_refuses_says_how_far_it_came(folder: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with volume(folder, 0) as fd:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 * MIB, before[1]))
        try:
            work = upload(
                fd,
                pipe_of(*[content(MIB)] * 32),
                offset=0,
                length=None,
                capacity=1 << 40,
                doing="uploading to 'a'",
            )
            with pytest.raises(TransferFailed, match="uploading to 'a': File too large") as caught:
                driven(work)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert caught.value.done == 16 * MIB
        assert os.fstat(fd).st_size == 16 * MIB


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (4097, None), (0, 4097), (1, 4096)])
def test_a_place_outside_of_the_volume_is_refused(
    folder: Path, offset: int, length: int | None
) -> None:
    pipe = pipe_of(b"data")
    with volume(folder, 4096) as fd:
        with pytest.raises(InvalidSpec, match="4096 bytes that there are"):
            driven(poured(fd, pipe, offset=offset, length=length))
        assert blocks(fd) == 0
    assert pipe.closed


def test_a_pipe_that_is_empty_does_not_keep_the_upload_from_being_stopped(folder: Path) -> None:
    pipe = pipe_of(content(5000), end=False)
    with volume(folder, MIB) as fd:
        work = poured(fd, pipe)
        while True:
            at = next(work)
            if isinstance(at, Done) and at.done:
                break
        assert at.done == 4096  # the rest waits for the block to be whole
        next(work)
        work.close()
        assert os.pread(fd, 4096, 0) == content(5000)[:4096]
    with pytest.raises(PipeClosed):
        pipe.put(b"more")


def test_a_source_file_is_closed_at_the_end(folder: Path) -> None:
    with volume(folder, MIB) as fd, source_file(folder, 100, [(0, 100)]) as source:
        driven(poured(fd, source))
        assert source.fd == -1


def test_progress_of_an_upload_counts_data_and_not_holes(folder: Path) -> None:
    with volume(folder, 64 * MIB) as fd:
        told: list[Done] = []
        data = content(10 * MIB)
        driven(poured(fd, pipe_of(Hole(40 * MIB), data), length=50 * MIB), told)
        assert told[-1] == Done(10 * MIB, 10 * MIB)
        with source_file(folder, 50 * MIB, [(0, 12 * MIB)]) as source:
            driven(poured(fd, source), told)
        assert told[-1] == Done(12 * MIB, 12 * MIB)


def test_a_source_that_is_cut_meanwhile_says_how_far_it_came(folder: Path) -> None:
    with (
        volume(folder, 32 * MIB) as fd,
        sparse_file(folder / "source", 32 * MIB, [(0, 32 * MIB)]) as given_fd,
    ):
        work = poured(fd, FileSource(os.dup(given_fd)))
        for at in work:
            if isinstance(at, Done) and at.done:
                break
        os.ftruncate(given_fd, 12 * MIB)
        with pytest.raises(TransferFailed, match="made the file shorter") as caught:
            driven(work)
        assert caught.value.done == 12 * MIB


# Downloads.


class Whole(FileSink):
    """A sink that notes when it is whole."""

    whole = False

    def finish(self) -> None:
        self.whole = True


@given(layout=pieces(MIB), offset=st.integers(0, MIB), length=st.integers(0, MIB))
def test_a_file_gets_the_content_and_the_holes(
    folder: Path, layout: tuple[int, Pieces], offset: int, length: int
) -> None:
    size, data = layout
    offset = min(offset, size)
    length = min(length, size - offset)
    with (
        sparse_file(folder / "volume", size, data) as fd,
        sparse_file(folder / "sink", 0, []) as sink_fd,
    ):
        sink = Whole(os.dup(sink_fd))
        work = download(fd, sink, offset=offset, length=length, sparse=False)
        assert driven(work) == length
        assert bytes_of(sink_fd) == bytes_of(fd)[offset : offset + length]
        assert sink.whole
        assert sink.fd == -1
        if offset == 0:
            assert blocks(sink_fd) <= blocks(fd)


@settings(max_examples=30)  # each one waits once for the job's patience
@given(layout=pieces(MIB), offset=st.integers(0, MIB), sparse=st.booleans())
def test_a_pipe_gets_the_content(
    folder: Path, layout: tuple[int, Pieces], offset: int, sparse: bool
) -> None:
    size, data = layout
    offset = min(offset, size)
    with sparse_file(folder / "volume", size, data) as fd:
        pipe = Pipe()
        work = download(fd, pipe, offset=offset, length=None, sparse=sparse)
        got, done = taken(pipe, work)
        assert done == size - offset
        assert plain(got) == bytes_of(fd)[offset:]
        holes = sum(c.length for c in got if isinstance(c, Hole))
        assert holes == (size - offset - data_from(fd, offset) if sparse else 0)


def taken(pipe: Pipe, work: Operation[int]) -> tuple[list[bytes | Hole], int]:
    """Drive a download, taking what it gives, and close it after the end."""
    got: list[bytes | Hole] = []
    while True:
        try:
            next(work)
        except StopIteration as stop:
            return got, stop.value
        while (chunk := pipe.take(0)) is not None:
            if chunk is END:
                pipe.close()
                break
            got.append(chunk)


def plain(chunks: list[bytes | Hole]) -> bytes:
    return b"".join(bytes(c.length) if isinstance(c, Hole) else c for c in chunks)


def data_from(fd: int, offset: int) -> int:
    return sum(end - max(begin, offset) for begin, end in data_map(fd) if end > offset)


def test_a_large_hole_comes_as_zeros_in_chunks(folder: Path) -> None:
    with volume(folder, 5 * MIB + 1) as fd:
        pipe = Pipe()
        got, _ = taken(pipe, download(fd, pipe, offset=0, length=None, sparse=False))
        assert plain(got) == bytes(5 * MIB + 1)
        assert max(len(chunk) for chunk in got) == CHUNK


def test_a_download_waits_until_its_reader_has_everything(folder: Path) -> None:
    with volume(folder, 100, full=True) as fd:
        pipe = Pipe()
        work = download(fd, pipe, offset=0, length=None, sparse=False)
        for _ in range(5):
            next(work)
        assert pipe.take(0) == content(100, 0)
        assert pipe.take(0) is END
        next(work)
        pipe.close()
        with pytest.raises(StopIteration):
            next(work)


def test_a_reader_that_is_slow_does_not_keep_it_from_being_stopped(folder: Path) -> None:
    with volume(folder, 8 * MIB, full=True) as fd:
        pipe = Pipe(CHUNK)
        work = download(fd, pipe, offset=0, length=None, sparse=False)
        for _ in range(4):
            next(work)
        work.close()
        pipe.take(0)
        with pytest.raises(PipeFailed):
            pipe.take(0)


@pytest.mark.parametrize("error", [None, OSError("the disk is gone")])
def test_a_reader_that_goes_away_says_how_far_it_came(folder: Path, error: OSError | None) -> None:
    with volume(folder, 8 * MIB, full=True) as fd:
        pipe = Pipe(CHUNK)
        work = download(fd, pipe, offset=0, length=None, sparse=False)
        while pipe.take(0) is None:
            next(work)
        pipe.close(error)
        with pytest.raises(TransferFailed, match="the target takes no more") as caught:
            driven(work)
        assert caught.value.__cause__ is error
        assert caught.value.done == CHUNK


def test_a_place_outside_of_the_volume_is_not_read(folder: Path) -> None:
    with volume(folder, 100) as fd, sparse_file(folder / "sink", 0, []) as sink_fd:
        sink = Whole(os.dup(sink_fd))
        with pytest.raises(InvalidSpec, match="100 bytes that there are"):
            driven(download(fd, sink, offset=101, length=None, sparse=False))
        assert (sink.whole, sink.fd) == (False, -1)


def test_a_download_that_is_closed_early_is_not_whole(folder: Path) -> None:
    with volume(folder, 32 * MIB, full=True) as fd, sparse_file(folder / "sink", 0, []) as sink_fd:
        sink = Whole(os.dup(sink_fd))
        work = download(fd, sink, offset=0, length=None, sparse=False)
        next(work)
        next(work)
        work.close()
        assert (sink.whole, sink.fd) == (False, -1)
