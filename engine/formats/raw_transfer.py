"""Bytes into a raw file from a source, and out of it into a sink."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from time import monotonic
from typing import TypeAlias

from volary.engine.errors import (
    InvalidSpec,
    StorageFailed,
    TransferFailed,
    TransferOutOfSpace,
    VolaryError,
)
from volary.engine.formats.data_runs import count_data, data_runs, with_holes
from volary.engine.formats.direct_io import BLOCK, DirectFile, huge_pages
from volary.engine.formats.raw import EXTENT, FALLOCATE_EXTENT, write_zeros
from volary.engine.formats.raw_copy import (
    Step,
    copied_file,
    copy_extent,
    read_ahead,
    read_extent,
)
from volary.engine.hole import Hole
from volary.engine.linux import punch_hole
from volary.engine.pipe import END, Pipe, PipeClosed, PipeFailed
from volary.engine.progress import Done, Operation, Sync

CHUNK = 2 << 20
"""Bytes of one chunk of a download: smaller ones are slower (1.1 GB/s with 1 MiB, 1.5 GB/s with
2 MiB), and larger ones are not faster."""

_ZEROS = bytes(CHUNK)

_PATIENCE = 0.05
"""Seconds to wait for the other side of a pipe before looking whether the job was cancelled."""


class FileSource:
    """A regular file to upload from.

    fd: a description of its own, which is read past the page cache and closed at the end; -1 for
        one that is opened when the upload begins.
    position: where to begin, in bytes.
    """

    def __init__(self, fd: int = -1, position: int = 0) -> None:
        self.fd = fd
        self.position = position

    def open(self) -> None:
        """Called when the upload begins: what waited without a descriptor opens it here."""

    def close(self) -> None:
        """Close it; closing twice does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class FileSink:
    """A new, empty regular file to download into.

    fd: a description of its own, which is written past the page cache and closed at the end; -1
        for one that is opened when the download begins.
    """

    def __init__(self, fd: int = -1) -> None:
        self.fd = fd

    def open(self) -> None:
        """Called when the download begins: what waited without a descriptor opens it here."""

    def finish(self) -> None:
        """Called when it is whole and synced."""

    def close(self) -> None:
        """Close it; closing twice does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


Source: TypeAlias = FileSource | Pipe
Sink: TypeAlias = FileSink | Pipe


def upload(
    fd: int,
    source: Source,
    *,
    offset: int,
    length: int | None,
    capacity: int,
    doing: str = "uploading",
) -> Operation[int]:
    """Write all that comes from `source` into the file, from `offset` on; return how many bytes.

    Holes of the source become holes of the file; progress does not count them. The source is
    closed at the end.

    length: how many bytes the source must have; None takes what it has.
    capacity: the byte that nothing is written beyond; a shorter file grows.
    doing: what begins an error's text.

    Raises `TransferFailed`, which says how far it came, when the source has more or less than
    that, when it fails, and when the system refuses to write; `InvalidSpec` for a place outside
    the file. What was written until then stays, as it does when this is closed early.
    """
    with closing(source):
        room = _stretch(offset, length, capacity, doing)
        if isinstance(source, FileSource):
            source.open()
        with copied_file(fd) as file:
            work = _Upload(file, offset, length, room)
            try:
                if isinstance(source, FileSource):
                    yield from work.copy(source)
                else:
                    yield from work.drain(source)
            except (_Refused, StorageFailed) as error:
                raise work.failed(doing, str(error)) from error.__cause__
            except OSError as error:
                raise work.failed(doing, os.strerror(error.errno or 0), error) from error
            return work.done


def _stretch(offset: int, length: int | None, capacity: int, doing: str) -> int:
    """Return the length of what is to be read or written, having checked it."""
    if offset < 0 or offset > capacity:
        raise InvalidSpec(
            f"{doing}: offset {offset} is outside of the {capacity} bytes that there are"
        )
    if length is None:
        return capacity - offset
    if length < 0 or length > capacity - offset:
        raise InvalidSpec(
            f"{doing}: a length of {length} bytes from offset {offset} on goes beyond the "
            f"{capacity} bytes that there are; choose less, or resize the volume first"
        )
    return length


def _words(error: BaseException | None) -> str:
    """Return what somebody else's error says: the system's own words where it is the system's."""
    if isinstance(error, OSError) and error.errno:
        return error.strerror or os.strerror(error.errno)
    if isinstance(error, VolaryError):
        return str(error)
    return repr(error)


class _Refused(Exception):  # noqa: N818 - becomes a TransferFailed
    """The other side gave too much, too little or an error; says so in half a sentence."""


class _Upload:
    """Writes what comes, from `offset` on; `length` is what must come and `room` what may."""

    def __init__(self, file: DirectFile, offset: int, length: int | None, room: int) -> None:
        self._file = file
        self._offset = offset
        self._length = length
        self._room = room
        self._buffer = huge_pages(EXTENT)
        self._step = Step()
        self._holes = 0
        self._total = 0
        # The buffer's part from _first to _last is to be written to _at; what is before that is
        # in the file. An address is as far from a whole block as its place in the file.
        self._at = offset
        self._first = self._last = offset % BLOCK

    @property
    def done(self) -> int:
        """The bytes from the offset on that are in the file, holes among them."""
        return self._at - self._offset

    def failed(self, doing: str, why: str, error: OSError | None = None) -> TransferFailed:
        """Return the error that says how far it came."""
        text = f"{doing}: {why}; {self.done} bytes from offset {self._offset} on are written"
        if error is not None and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return TransferOutOfSpace(text, self.done)
        return TransferFailed(text, self.done)

    def _progress(self) -> Done:
        return Done(self.done - self._holes, self._total)

    def copy(self, source: FileSource) -> Operation[None]:
        """Copy a file."""
        start = source.position
        size = max(0, os.lseek(source.fd, 0, os.SEEK_END) - start)
        self._check(size)
        if self._length is not None and size < self._length:
            raise _Refused(f"the source has only {size} bytes, and {self._length} were asked for")
        self._total = yield from count_data(source.fd, start, start + size)
        with copied_file(source.fd) as file:
            position = start
            for begin, end in read_ahead(file, start, start + size):
                yield from self._hole(begin - position)
                position = begin
                while position < end:
                    got = copy_extent(file, self._file, self._buffer, position, end, to=self._at)
                    self._at += got
                    position += got
                    if self._step.is_over(got):
                        yield self._progress()
            yield from self._hole(start + size - position)
        yield self._progress()

    def drain(self, pipe: Pipe) -> Operation[None]:
        """Write what comes out of a pipe."""
        self._total = self._length or 0
        due = monotonic() + _PATIENCE
        while True:
            try:
                chunk = pipe.take(_PATIENCE)
            except PipeFailed as failed:
                self._flush()
                cause = failed.__cause__
                raise _Refused(f"the source failed ({_words(cause)})") from cause
            if chunk is END:
                break
            if isinstance(chunk, Hole):
                self._check(chunk.length)
                self._flush()
                self._total = max(0, self._total - chunk.length)
                yield from self._hole(chunk.length)
            elif chunk is not None:
                self._check(len(chunk))
                yield from self._gather(memoryview(chunk))
            # Small chunks that come fast fill an extent; slow ones are not waited for.
            if monotonic() >= due:
                self._flush(whole=True)
                yield self._progress()
                due = monotonic() + _PATIENCE
        self._flush()
        if self._length is not None and self.done < self._length:
            raise _Refused(f"the source ended before the {self._length} bytes asked for")
        yield self._progress()

    def _check(self, more: int) -> None:
        """Refuse what goes beyond the room that there is."""
        came = self.done + self._last - self._first
        if came + more > self._room:
            self._flush()
            allowed = "asked for" if self._length is not None else "up to the volume's end"
            raise _Refused(f"the source has more than the {self._room} bytes {allowed}")

    def _gather(self, data: memoryview) -> Operation[None]:
        while data:
            taken = min(len(data), len(self._buffer) - self._last)
            self._buffer[self._last : self._last + taken] = data[:taken]
            self._last += taken
            data = data[taken:]
            if self._last == len(self._buffer):
                self._flush(whole=True)
                yield self._progress()

    def _flush(self, *, whole: bool = False) -> None:
        """Write what was gathered; with `whole`, leave what is less than a block for later."""
        first, last = self._first, self._last
        end = last - last % BLOCK if whole else last
        if end <= first:
            return
        self._file.write(self._buffer[first:end], self._at)
        self._at += end - first
        self._first = self._at % BLOCK
        self._last = self._first + last - end
        self._buffer[self._first : self._last] = self._buffer[end:last]

    def _hole(self, length: int) -> Operation[None]:
        """Have zeros in the file that take no space; nothing may be gathered."""
        end = self._at + length
        for begin, stop in data_runs(self._file.fd, self._at, end):
            offset = begin
            while offset < stop:
                cleared = self._clear(offset, stop)
                offset += cleared
                if self._step.is_over(cleared):
                    yield self._progress()
        # So that all that is said to be written is in the file, should it come to no more.
        if os.lseek(self._file.fd, 0, os.SEEK_END) < end:
            os.ftruncate(self._file.fd, end)
        self._holes += length
        self._at = end
        self._first = self._last = end % BLOCK
        if self._step.is_over():
            yield self._progress()

    def _clear(self, offset: int, end: int) -> int:
        """Clear data from `offset` on, not beyond `end`, and return how much."""
        length = min(FALLOCATE_EXTENT, end - offset)
        try:
            punch_hole(self._file.fd, offset, length)
        except OSError as error:
            # EINVAL: a block device clears whole sectors only.
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
            return write_zeros(self._file, offset, end)
        return length


def download(
    fd: int,
    sink: Sink,
    *,
    offset: int,
    length: int | None,
    sparse: bool,
    doing: str = "downloading",
) -> Operation[int]:
    """Read the file from `offset` on into `sink`; return how many bytes, holes among them.

    A file has holes where this one has them. A pipe is given a `Hole` for each with `sparse`, else
    its zeros; it is waited for until it has taken and closed everything. Progress counts no holes
    that are passed on as such.

    length: how many bytes; None reads to the end.
    doing: what begins an error's text.

    Raises `TransferFailed`, which says how far it came, when the sink fails or goes away, and when
    the system refuses to read or write; `InvalidSpec` for a place outside the file. A `FileSink`
    is closed in any case; a pipe that waits is told, when this fails or is closed early.
    """
    try:
        length = _stretch(offset, length, os.lseek(fd, 0, os.SEEK_END), doing)
        if isinstance(sink, FileSink):
            sink.open()
        work = _Download(fd, offset, offset + length)
        try:
            if isinstance(sink, FileSink):
                yield from work.copy(sink)
            else:
                yield from work.feed(sink, sparse=sparse)
        except PipeClosed as closed:
            cause = closed.__cause__
            why = "its reader went away" if cause is None else _words(cause)
            raise work.failed(doing, f"the target takes no more ({why})") from cause
        except StorageFailed as error:
            raise work.failed(doing, str(error)) from error.__cause__
        except OSError as error:
            raise work.failed(doing, os.strerror(error.errno or 0), error) from error
    except BaseException as error:
        if isinstance(sink, Pipe):
            sink.fail(error)
        raise
    finally:
        if isinstance(sink, FileSink):
            sink.close()
    return length


class _Download:
    """Reads from `offset` to `end`."""

    def __init__(self, fd: int, offset: int, end: int) -> None:
        self._fd = fd
        self._offset = offset
        self._end = end
        self._buffer = huge_pages(CHUNK)
        self._at = offset

    def failed(self, doing: str, why: str, error: OSError | None = None) -> TransferFailed:
        """Return the error that says how far it came."""
        done = self._at - self._offset
        text = f"{doing}: {why}; {done} bytes from offset {self._offset} on had come"
        if error is not None and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return TransferOutOfSpace(text, done)
        return TransferFailed(text, done)

    def copy(self, sink: FileSink) -> Operation[None]:
        """Copy into a file, holes as holes."""
        buffer = huge_pages(EXTENT)
        total = yield from count_data(self._fd, self._offset, self._end)
        done = 0
        step = Step()
        os.ftruncate(sink.fd, self._end - self._offset)
        with copied_file(self._fd) as file, copied_file(sink.fd) as target:
            for begin, end in read_ahead(file, self._offset, self._end):
                self._at = begin
                while self._at < end:
                    to = self._at - self._offset
                    got = copy_extent(file, target, buffer, self._at, end, to=to)
                    self._at += got
                    done += got
                    if step.is_over(got):
                        yield Done(done, max(done, total))
        self._at = self._end
        yield Done(done, max(done, total))
        yield Sync(sink.fd)
        sink.finish()

    def feed(self, pipe: Pipe, *, sparse: bool) -> Operation[None]:
        """Put it into a pipe, and wait until it is taken."""
        total = self._end - self._offset
        if sparse:
            total = yield from count_data(self._fd, self._offset, self._end)
        done = 0
        with copied_file(self._fd) as file:
            runs = read_ahead(file, self._offset, self._end)
            for begin, end, is_data in with_holes(runs, self._offset, self._end):
                if sparse and not is_data:
                    yield from self._put(pipe, Hole(end - begin), Done(done, total))
                    continue
                while self._at < end:
                    chunk = self._chunk(file, end) if is_data else _zeros(end - self._at)
                    done += len(chunk)
                    yield from self._put(pipe, chunk, Done(done, max(done, total)))
        pipe.end()
        while not pipe.taken(_PATIENCE):
            yield Done(done, max(done, total))

    def _chunk(self, file: DirectFile, end: int) -> bytes:
        """Read a chunk, not beyond `end`."""
        return bytes(read_extent(file, self._buffer, self._at, end, to=self._at))

    def _put(self, pipe: Pipe, chunk: bytes | Hole, after: Done) -> Operation[None]:
        """Put a chunk as soon as there is room for it."""
        while not pipe.put(chunk, _PATIENCE):
            yield after
        self._at += chunk.length if isinstance(chunk, Hole) else len(chunk)
        yield after


def _zeros(length: int) -> bytes:
    return _ZEROS[:length]  # the whole of it is not copied
