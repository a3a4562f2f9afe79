"""What a volume can be uploaded from."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeAlias, runtime_checkable

from volary.api.pump_thread import start_pump
from volary.engine.errors import InvalidSpec, VolaryError, from_os_error
from volary.engine.formats.raw_transfer import FileSource, Source
from volary.engine.hole import Hole
from volary.engine.log import log
from volary.engine.pipe import Pipe, PipeClosed

_READ = 1 << 20
"""Bytes asked of a file object at a time."""

Chunk: TypeAlias = bytes | bytearray | memoryview | Hole
"""Bytes, or a `Hole` in place of zeros."""


@runtime_checkable
class Readable(Protocol):
    """A file object that is open for reading bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""


UploadSource: TypeAlias = (
    str | os.PathLike[str] | Readable | Iterable[Chunk] | AsyncIterable[Chunk]
)
"""A path, a file object, or what yields the content in pieces, at once or in asyncio."""


def open_source(given: UploadSource, *, blocks: bool) -> Source:
    """Return what an upload reads from `given`; whoever asked closes it when the job has ended.

    A regular file, by its path or as a file object, is read through a descriptor of its own, from
    the object's position, which stays; its holes become holes. A path is opened when the upload
    begins, so that one that waits for its turn holds nothing. Everything else goes through a pipe:
    an asynchronous iterable is read by a task of the running loop, the rest by a thread. What
    these raise is the cause of the upload's error. Iterators are closed when it ends.

    blocks: whether the caller is going to wait for the job on this thread.

    Raises `InvalidSpec` for what is none of these, and what the system says of the path.
    """
    source: object = given  # whatever it is said to be
    if isinstance(source, str | os.PathLike):
        return _open_path(os.fsdecode(source))
    if isinstance(source, AsyncIterable) and not isinstance(source, Iterable):
        return _read_async(source, blocks=blocks)
    if isinstance(source, io.TextIOBase):
        raise InvalidSpec(f"{given!r} gives text, and a volume holds bytes: open it in mode 'rb'")
    if isinstance(source, Readable):
        return _own_file(source) or _pumped(_read_file(source))
    if isinstance(source, Iterable) and not isinstance(source, bytes | bytearray | memoryview):
        return _pumped(iter(source))
    raise InvalidSpec(
        f"{type(given).__name__} is nothing to upload from; give a path, a file object, or an "
        "iterable of bytes, such as [data]"
    )


def _open_path(given: str) -> Source:
    try:
        # Where it is now, wherever the process is when the upload begins. Not realpath, which is
        # wrong of /dev/stdin and the like where the file has no name any more.
        path = given if os.path.isabs(given) else os.path.join(os.getcwd(), given)
        mode = os.stat(path).st_mode
    except OSError as error:
        raise _refused(given, error) from error
    except ValueError as error:  # a NUL, or what the file system's encoding has not
        raise InvalidSpec(f"{given!r} is no path to upload from: {error}") from None
    if stat.S_ISDIR(mode):
        raise InvalidSpec(f"{given} is a directory; give the path of the file to upload")
    if stat.S_ISREG(mode):
        return _NamedFile(path)
    # Opening a named pipe waits for its writer: a matter for a thread of its own.
    return _pumped(_read_path(path))


def _refused(path: str, error: OSError) -> VolaryError:
    return from_os_error(error, f"opening {path} to upload it")


class _NamedFile(FileSource):
    """A regular file that is opened when the upload begins."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def open(self) -> None:
        """Open it, if it still is a regular file."""
        try:
            # Nonblocking: a named pipe that has taken its place is not waited for.
            self.fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _refused(self._path, error) from error
        if not stat.S_ISREG(os.fstat(self.fd).st_mode):
            raise InvalidSpec(f"{self._path} was a regular file when the upload was asked for")


def _read_path(path: str) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        yield from _read_file(file)


def _read_file(file: Readable) -> Iterator[bytes]:
    while chunk := file.read(_READ):
        yield chunk
    if chunk is None:  # io.RawIOBase.read: there is nothing yet
        raise BlockingIOError(errno.EAGAIN, "the file does not block, and may have more to come")


def _own_file(file: object) -> FileSource | None:
    """Return a source that reads the regular file below a file object, if there is one."""
    # Of these types exactly: others may change what they read, and still have a fileno (gzip).
    if type(file) is not io.FileIO and not (
        type(file) in (io.BufferedReader, io.BufferedRandom)
        and isinstance(file, io.BufferedReader | io.BufferedRandom)
        and type(file.raw) is io.FileIO
    ):
        return None
    if not file.readable() or not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return None
    file.flush()
    try:
        # A description of its own: the caller's has a position and flags that are the caller's.
        fd = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # no /proc, or a file that this user may not open anew
        return None
    return FileSource(fd, file.tell())


def _checked(chunk: object) -> bytes | Hole:
    """Return a chunk that stays as it is whatever the caller does next."""
    if isinstance(chunk, Hole):
        if not isinstance(chunk.length, int) or chunk.length < 0:
            raise InvalidSpec(f"{chunk!r}: the length of a hole is a number of bytes")
        return chunk
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    raise InvalidSpec(f"the source gave {type(chunk).__name__}, and not bytes or a Hole")


def _pumped(chunks: Iterator[object]) -> Pipe:
    pipe = Pipe()
    start_pump(partial(_pump, chunks, pipe))
    return pipe


def _pump(chunks: Iterator[object], pipe: Pipe) -> None:
    """Put all of `chunks` into the pipe, until its other side is closed."""
    try:
        for chunk in chunks:
            pipe.put(_checked(chunk))
    except PipeClosed:
        pass
    # The caller's code: whatever it raises is the job's error, not this thread's.
    except BaseException as error:  # noqa: BLE001
        pipe.fail(error)
    else:
        pipe.end()
    close = getattr(chunks, "close", None)
    if close is not None:
        try:
            close()
        except BaseException as error:  # noqa: BLE001 - as above
            log().warning("the source of an upload raised when it was closed", exc_info=error)


_tasks: set[asyncio.Task[None]] = set()
"""Tasks that read for an upload: a loop itself does not keep them."""


def _read_async(given: AsyncIterable[object], *, blocks: bool) -> Pipe:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise InvalidSpec(
            "an asynchronous iterable is read by the running event loop, and this thread runs "
            "none; call this in a coroutine"
        ) from None
    if blocks:
        raise InvalidSpec(
            "an asynchronous iterable is read by the running event loop, which a blocking call "
            "holds up; add the flag ASYNC, and await the job"
        )
    pipe = Pipe()
    room = asyncio.Event()
    task = loop.create_task(_pump_async(aiter(given), pipe, room))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)

    def wake() -> None:
        room.set()
        if pipe.closed:
            task.cancel()  # which may be waiting for what will never be needed

    def on_room() -> None:
        with suppress(RuntimeError):  # the loop is closed: its tasks are cancelled
            loop.call_soon_threadsafe(wake)

    pipe.on_room = on_room
    return pipe


async def _pump_async(chunks: AsyncIterator[object], pipe: Pipe, room: asyncio.Event) -> None:
    """Put all of `chunks` into the pipe, letting the loop go on while it is full."""
    try:
        async for chunk in chunks:
            checked = _checked(chunk)
            room.clear()
            while not pipe.put(checked, 0):
                await room.wait()
                room.clear()
    except PipeClosed:
        pass
    except asyncio.CancelledError as error:
        pipe.fail(error)
        raise
    except BaseException as error:  # noqa: BLE001 - as in _pump
        pipe.fail(error)
    else:
        pipe.end()
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
