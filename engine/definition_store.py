"""Pool definitions on disk, in the layout of libvirt's storage configuration.

`NAME.xml` holds a persistent pool's document; `autostart/NAME.xml` is a link to it when the pool
is to be started with the engine.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import sys
from dataclasses import dataclass

from volary.engine.errors import InvalidSpec, StateDirectoryBusy, from_os_error
from volary.engine.log import log
from volary.engine.pool_document import LARGEST, read_pool_document, write_pool_document
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Done, Operation

_LOCK = ".volary.lock"
_AUTOSTART = "autostart"
_SUFFIX = ".xml"
_UNFINISHED = ".new"
_HEADER = """\
<!--
Written by Volary, which reads it when its engine starts: change the pool through Volary.
-->
"""


@dataclass(frozen=True, slots=True)
class StoredPool:
    """A definition as it was found on disk."""

    spec: PoolSpec
    autostart: bool


class DefinitionStore:
    """One engine's state directory: owned, by flock(2), until `close`."""

    def __init__(self, directory: str) -> None:
        """Create the directory if need be, and take it.

        Raises `StateDirectoryBusy` when another engine has it, in this process or another.
        """
        self.directory = directory
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            self._lock = os.open(
                os.path.join(directory, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise from_os_error(error, f"opening the state directory {directory}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, _this_process().encode(), 0)
        except BlockingIOError:
            owner = os.pread(self._lock, 500, 0).decode(errors="replace") or "another process"
            os.close(self._lock)
            raise StateDirectoryBusy(
                f"the state directory {directory} is owned by {owner}; "
                "use that engine, or another state directory"
            ) from None
        except OSError as error:
            os.close(self._lock)
            raise from_os_error(error, f"taking the state directory {directory}") from error

    def close(self) -> None:
        """Give the directory free."""
        # The lock is the open file's, which processes forked from this one share: it would
        # outlive the close while one of them does.
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        os.close(self._lock)

    def forget(self) -> None:
        """In a process forked from the owner: let go, so that the owner's end frees the lock."""
        os.close(self._lock)

    def load(self) -> list[StoredPool]:
        """Return every definition that can be read; one that cannot be is logged, and left."""
        found = []
        for name in sorted(os.listdir(self.directory)):
            path = os.path.join(self.directory, name)
            if name.startswith(".") and name.endswith(_UNFINISHED):
                os.unlink(path)  # a save that was killed left it; the lock says that none runs
                continue
            if not name.endswith(_SUFFIX) or name.startswith(".") or not os.path.isfile(path):
                continue
            try:
                spec = _read(path)
            except (InvalidSpec, OSError) as error:
                log().error("passed over a pool definition", path=path, why=str(error))
                continue
            linked = os.path.lexists(os.path.join(self.directory, _AUTOSTART, name))
            found.append(StoredPool(spec.with_uuid(), linked))
        return found

    def save(self, spec: PoolSpec) -> Operation[None]:
        """Write the definition, as a whole or not at all."""
        yield Done()
        name = spec.name + _SUFFIX
        # Not made from the pool's name, which may be as long as a name can be.
        temporary = os.path.join(self.directory, f".{secrets.token_hex(8)}{_UNFINISHED}")
        document = _HEADER + write_pool_document(spec)
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(document)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, os.path.join(self.directory, name))
            _sync(self.directory)
        except OSError as error:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise from_os_error(error, f"saving the definition of pool {spec.name!r}") from error

    def remove(self, spec: PoolSpec) -> Operation[None]:
        """Remove the definition and its autostart link."""
        yield from self.set_autostart(spec, on=False)
        try:
            os.unlink(os.path.join(self.directory, spec.name + _SUFFIX))
            _sync(self.directory)
        except FileNotFoundError:
            pass  # removed by hand: what was asked for is so
        except OSError as error:
            raise from_os_error(error, f"removing the definition of pool {spec.name!r}") from error

    def set_autostart(self, spec: PoolSpec, *, on: bool) -> Operation[None]:
        """Make or remove the autostart link."""
        yield Done()
        folder = os.path.join(self.directory, _AUTOSTART)
        link = os.path.join(folder, spec.name + _SUFFIX)
        try:
            if on:
                os.makedirs(folder, mode=0o700, exist_ok=True)
                os.symlink(os.path.join("..", spec.name + _SUFFIX), link)
            else:
                os.unlink(link)
            _sync(folder)
        except (FileExistsError, FileNotFoundError):
            pass  # as asked for already
        except OSError as error:
            raise from_os_error(error, f"setting autostart of pool {spec.name!r}") from error


def _read(path: str) -> PoolSpec:
    with open(path, "rb") as file:
        spec = read_pool_document(file.read(LARGEST + 1))
    if spec.name + _SUFFIX != os.path.basename(path):
        raise InvalidSpec(f"it defines pool {spec.name!r}, which its name does not say")
    return spec


def _this_process() -> str:
    program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
    return f"process {os.getpid()} ({program}) on {socket.gethostname()}"


def _sync(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
