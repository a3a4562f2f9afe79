"""Pool definitions on disk, in the layout of libvirt's storage configuration.

`NAME.xml` holds a persistent pool's document; `autostart/NAME.xml` is a link to it when the pool
is to be started with the engine. So a state directory can be libvirt's own, and libvirt's ours,
as long as no more than one of the two runs. What somebody else wrote into a document that is not
read stays there until the pool is defined anew.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import socket
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass

from volary.engine.errors import (
    InvalidSpec,
    StateDirectoryBusy,
    StorageFailed,
    VolaryError,
    from_os_error,
)
from volary.engine.file_system import sync_directory
from volary.engine.log import log
from volary.engine.pool_document import read_pool_document, write_pool_document
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Done, Operation
from volary.engine.xml_document import LARGEST

_LOCK = ".volary.lock"
_AUTOSTART = "autostart"
_SUFFIX = ".xml"
_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.new")
"""Names of our own unfinished files: whatever else begins with a dot is somebody else's."""

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
            self._lock = _open_lock(os.path.join(directory, _LOCK))
        except OSError as error:
            raise from_os_error(error, f"opening the state directory {directory}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, os.fsencode(_this_process()), 0)
        except BlockingIOError:
            owner = os.pread(self._lock, 500, 0).decode(errors="replace") or "another process"
            os.close(self._lock)
            raise StateDirectoryBusy(
                f"the state directory {directory} is owned by {owner}; "
                "wait until it has ended, use it, or use another state directory"
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
        try:
            for name in sorted(os.listdir(self.directory)):
                path = os.path.join(self.directory, name)
                if _UNFINISHED.fullmatch(name):
                    # A save that was killed left it: the lock says that none runs.
                    if stat.S_ISREG(os.lstat(path).st_mode):
                        os.unlink(path)
                elif name.endswith(_SUFFIX) and os.path.isfile(path):
                    found += self._load(name, path)
        except OSError as error:
            raise from_os_error(error, f"reading the state directory {self.directory}") from error
        return found

    def _load(self, name: str, path: str) -> list[StoredPool]:
        """Return what is defined there, or nothing."""
        try:
            spec = _read(path)
        except (InvalidSpec, OSError) as error:
            log().error("passed over a pool definition", path=path, why=str(error))
            return []
        if spec.uuid is None:
            spec = self._identify(spec)
        return [StoredPool(spec, _same_file(self._autostart_link(name), path))]

    def _identify(self, spec: PoolSpec) -> PoolSpec:
        """Give a UUID to a definition that somebody wrote without one, and keep it: the keys of
        the pool's volumes are made from it.
        """
        spec = spec.with_uuid()
        try:
            for _ in self.save(spec):
                pass
        except VolaryError as error:
            log().warning("a pool gets another UUID at each start", pool=spec.name, why=str(error))
        return spec

    def _autostart_link(self, name: str) -> str:
        return os.path.join(self.directory, _AUTOSTART, name)

    def save(self, spec: PoolSpec) -> Operation[None]:
        """Write the definition, as a whole or not at all."""
        yield Done()
        name = spec.name + _SUFFIX
        # Not made from the pool's name, which may be as long as a name can be.
        temporary = os.path.join(self.directory, f".{secrets.token_hex(8)}.new")
        document = (_HEADER + write_pool_document(spec)).encode()
        if len(document) > LARGEST:
            raise InvalidSpec(
                f"pool {spec.name!r}: its definition has {len(document)} bytes; at most {LARGEST} "
                "are read again: give it less to say"
            )
        try:
            with open(temporary, "wb") as file:
                file.write(document)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, os.path.join(self.directory, name))
            sync_directory(self.directory)
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)
            raise from_os_error(error, f"saving the definition of pool {spec.name!r}") from error

    def remove(self, spec: PoolSpec) -> Operation[None]:
        """Remove the definition and its autostart link."""
        yield from self.set_autostart(spec, on=False)
        try:
            os.unlink(os.path.join(self.directory, spec.name + _SUFFIX))
            sync_directory(self.directory)
        except FileNotFoundError:
            pass  # removed by hand: what was asked for is so
        except OSError as error:
            raise from_os_error(error, f"removing the definition of pool {spec.name!r}") from error

    def set_autostart(self, spec: PoolSpec, *, on: bool) -> Operation[None]:
        """Make or remove the autostart link."""
        yield Done()
        name = spec.name + _SUFFIX
        link = self._autostart_link(name)
        folder = os.path.dirname(link)
        try:
            if on:
                os.makedirs(folder, mode=0o700, exist_ok=True)
                if _same_file(link, os.path.join(self.directory, name)):
                    return
                with suppress(FileNotFoundError):
                    os.unlink(link)  # it leads elsewhere, as in a directory that was moved
                os.symlink(os.path.join("..", name), link)
                sync_directory(self.directory)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(link)
                if not os.path.isdir(folder):
                    return  # no pool ever had autostart
            sync_directory(folder)
        except OSError as error:
            raise from_os_error(error, f"setting autostart of pool {spec.name!r}") from error


def _same_file(link: str, path: str) -> bool:
    """Return whether a link leads to a file, be it absolute or relative."""
    try:
        return os.path.samefile(link, path)
    except OSError:
        return False


def _open_lock(path: str) -> int:
    """Open the lock file, or make it; what somebody put in its place is left alone."""
    refusal = StorageFailed(
        f"the lock file {path} is no regular file; remove it, or use another state directory"
    )
    # O_NONBLOCK: that of a FIFO or of a device does not wait.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise refusal from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise refusal
    return fd


def _read(path: str) -> PoolSpec:
    with open(path, "rb") as file:
        spec = read_pool_document(file.read(LARGEST + 1))
    if spec.name + _SUFFIX != os.path.basename(path):
        raise InvalidSpec(f"it defines pool {spec.name!r}, which its name does not say")
    return spec


def _this_process() -> str:
    program = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
    return f"process {os.getpid()} ({program}) on {socket.gethostname()}"
