"""What a volume can be downloaded to."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeAlias, runtime_checkable

from volary.api.pump_thread import start_pump
from volary.engine.backends.new_file import hidden_name
from volary.engine.errors import InvalidSpec, VolaryError, from_os_error
from volary.engine.file_system import sync_directory
from volary.engine.formats.raw_transfer import FileSink, Sink
from volary.engine.pipe import END, Pipe, PipeFailed


@runtime_checkable
class Writable(Protocol):
    """A file object that is open for writing bytes."""

    def write(self, data: bytes, /) -> int | None:
        """Write the bytes, and return how many were written; None stands for all."""


DownloadTarget: TypeAlias = str | os.PathLike[str] | Writable
"""A path, or a file object."""


class Target:
    """Where a download goes to: `sink` for the engine, and `close` for when the job has ended."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def close(self) -> None:
        """Let go of it: what is not whole is removed, and a thread that waits is told."""
        if isinstance(self.sink, FileSink):
            self.sink.close()
        else:
            self.sink.fail(InvalidSpec("the download is over"))


def open_target(given: DownloadTarget) -> Target:
    """Return where a download to `given` goes to; whoever asked closes it when the job has ended.

    A path gets its file when that is whole and synced, holes as holes, in the place of one that is
    there; until then it is hidden beside it, and nothing of it is left when the job fails. It is
    made when the download begins: one that waits for its turn holds nothing. A path
    that is no regular file, such as a named pipe, and a file object are written to as the data
    comes, holes as zeros, by a thread; what they raise is the cause of the download's error.

    Raises `InvalidSpec` for what is none of these, and what the system says of the path.
    """
    target: object = given  # whatever it is said to be
    if isinstance(target, str | os.PathLike):
        return _open_path(os.fsdecode(target))
    if isinstance(target, io.TextIOBase):
        raise InvalidSpec(f"{given!r} takes text, and a volume holds bytes: open it in mode 'wb'")
    if isinstance(target, Writable):
        return _pumped(partial(_write_chunks, target))
    raise InvalidSpec(
        f"{type(given).__name__} is nothing to download to; give a path or a file object"
    )


def _open_path(given: str) -> Target:
    try:
        path = os.path.realpath(given)
        mode = _mode(path)
        if mode is None:
            os.stat(os.path.dirname(path))
    except OSError as error:
        raise _refused(given, error) from error
    except ValueError as error:  # a NUL, or what the file system's encoding has not
        raise InvalidSpec(f"{given!r} is no path to download to: {error}") from None
    if mode is None or stat.S_ISREG(mode):
        return Target(_NewFile(path))
    if stat.S_ISDIR(mode):
        raise InvalidSpec(f"{path} is a directory; give the path of the file to download into")
    # Opening a named pipe waits for its reader: a matter for a thread of its own.
    return _pumped(partial(_write_path, path))


def _mode(path: str) -> int | None:
    """Return what a file is and who may do what with it, or None when there is none."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _refused(path: str, error: OSError) -> VolaryError:
    return from_os_error(error, f"opening {path} to download into it")


class _NewFile(FileSink):
    """A file that is made when the download begins, hidden until it is whole, and removed if it
    does not come to that.

    path: the name that it is to have; it keeps the permissions of a file that has it now.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._hidden: str | None = None

    def open(self) -> None:
        """Make it."""
        # A pool that has this directory for its target passes over the name, and removes what a
        # crash left of it when nobody holds the lock any more.
        hidden = os.path.join(os.path.dirname(self._path), hidden_name())
        try:
            mode = _mode(self._path)
            # As a volume, it is its owner's business only.
            self.fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self._hidden = hidden
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if mode is not None:
                os.fchmod(self.fd, stat.S_IMODE(mode))
        except OSError as error:
            raise _refused(self._path, error) from error

    def finish(self) -> None:
        """Give it its name."""
        assert self._hidden is not None  # noqa: S101 - it is finished once
        os.rename(self._hidden, self._path)
        self._hidden = None
        sync_directory(os.path.dirname(self._path))

    def close(self) -> None:
        """Close it, and remove it unless it was finished."""
        super().close()
        hidden, self._hidden = self._hidden, None
        if hidden is not None:
            with suppress(FileNotFoundError):
                os.unlink(hidden)


def _pumped(write: Callable[[Pipe], None]) -> Target:
    pipe = Pipe()
    start_pump(partial(_drain, write, pipe))
    return Target(pipe)


def _drain(write: Callable[[Pipe], None], pipe: Pipe) -> None:
    """Have all that comes out of the pipe written."""
    try:
        write(pipe)
    except PipeFailed:  # the job failed, and says so itself
        pipe.close()
    # The caller's code: whatever it raises is the job's error, not this thread's.
    except BaseException as error:  # noqa: BLE001
        pipe.close(error)
    else:
        pipe.close()


def _write_path(path: str, pipe: Pipe) -> None:
    with open(path, "wb", buffering=0) as file:
        _write_chunks(file, pipe)


def _write_chunks(file: Writable, pipe: Pipe) -> None:
    raw = isinstance(file, io.RawIOBase)
    while (chunk := pipe.take()) is not END:
        # Asked neither for holes nor to wait for a time only, it gives bytes.
        assert isinstance(chunk, bytes)  # noqa: S101 - for the type checker
        # An unbuffered file may write a part; one that does not block says None for nothing
        # (io.RawIOBase.write), as others say it for all.
        while (written := file.write(chunk)) is not None and 0 < written < len(chunk):
            chunk = chunk[written:]
        if written == 0 or (written is None and raw):
            raise BlockingIOError(errno.EAGAIN, "the file takes nothing at the moment")
    flush = getattr(file, "flush", None)
    if flush is not None:
        flush()
