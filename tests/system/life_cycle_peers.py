"""libvirtd and Volary, asked the same things in the same words."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import UUID

from tests.system.own_libvirtd import SystemLibvirtd

import volary

T = TypeVar("T")

_OWN = (
    (re.compile(r"(<[a-z]+ unit='bytes'>)[1-9][0-9]*(</)"), "SIZE"),
    (re.compile(r"(<(?:atime|mtime|ctime|btime)>)[0-9]+(?:\.[0-9]+)?(</)"), "TIME"),
    (re.compile(r"(<key>).*(</key>)"), "KEY"),
)


class Refused(Exception):  # noqa: N818 - an answer, as good as any other
    """A peer does not do it; two refusals are alike when their codes are."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(code, words)
        self.code = code


class Peer(Protocol):
    """One of the two: `home` is the directory that all its pools are in. Volumes are named by
    their pool's name and their own.
    """

    home: Path

    def define(self, document: str) -> None: ...
    def create(self, document: str, flags: int) -> None: ...
    def start(self, pool: str, flags: int) -> None: ...
    def stop(self, pool: str) -> None: ...
    def build(self, pool: str, flags: int) -> None: ...
    def delete(self, pool: str, flags: int) -> None: ...
    def undefine(self, pool: str) -> None: ...
    def set_autostart(self, pool: str, *, on: bool) -> None: ...
    def refresh(self, pool: str) -> None: ...
    def pools(self, flags: int) -> list[str]: ...
    def status(self, pool: str) -> tuple[bool, bool, bool]: ...
    def info(self, pool: str) -> tuple[int, int, int, int]: ...
    def xml(self, pool: str, flags: int) -> str: ...
    def by_uuid(self, uuid: str) -> str: ...
    def by_target(self, target: str) -> str: ...
    def volumes(self, pool: str) -> list[str]: ...
    def create_volume(self, pool: str, document: str, flags: int) -> None: ...
    def clone_volume(self, pool: str, document: str, source: tuple[str, str]) -> None: ...
    def delete_volume(self, pool: str, name: str) -> None: ...
    def resize_volume(self, pool: str, name: str, capacity: int, flags: int) -> None: ...
    def capacity(self, pool: str, name: str) -> int: ...
    def volume_xml(self, pool: str, name: str) -> str: ...
    def volume_by_path(self, path: str) -> tuple[str, str]: ...
    def volume_by_its_key(self, pool: str, name: str) -> tuple[str, str]: ...


class Theirs:
    """libvirtd."""

    def __init__(self, daemon: SystemLibvirtd, home: Path) -> None:
        self.home = home
        self._error = daemon.libvirt.libvirtError
        self.connection = daemon.connection

    @contextmanager
    def _asked(self) -> Iterator[None]:
        # An object of libvirt-python that is collected after a call has failed, and before its
        # error is fetched, resets that error (virStoragePoolFree).
        gc.disable()
        try:
            yield
        except self._error as error:
            raise Refused(error.get_error_code(), str(error)) from None
        finally:
            gc.enable()

    def ask(self, question: Callable[[Any], T]) -> T:
        with self._asked():
            return question(self.connection)

    def _pool(self, name: str) -> Any:
        return self.ask(lambda conn: conn.storagePoolLookupByName(name))

    def _volume(self, pool: str, name: str) -> Any:
        with self._asked():
            return self._pool(pool).storageVolLookupByName(name)

    def define(self, document: str) -> None:
        self.ask(lambda conn: conn.storagePoolDefineXML(document, 0))

    def create(self, document: str, flags: int) -> None:
        self.ask(lambda conn: conn.storagePoolCreateXML(document, flags))

    def start(self, pool: str, flags: int) -> None:
        with self._asked():
            self._pool(pool).create(flags)

    def stop(self, pool: str) -> None:
        with self._asked():
            self._pool(pool).destroy()

    def build(self, pool: str, flags: int) -> None:
        with self._asked():
            self._pool(pool).build(flags)

    def delete(self, pool: str, flags: int) -> None:
        with self._asked():
            self._pool(pool).delete(flags)

    def undefine(self, pool: str) -> None:
        with self._asked():
            self._pool(pool).undefine()

    def set_autostart(self, pool: str, *, on: bool) -> None:
        with self._asked():
            self._pool(pool).setAutostart(int(on))

    def refresh(self, pool: str) -> None:
        with self._asked():
            self._pool(pool).refresh(0)

    def pools(self, flags: int) -> list[str]:
        found = self.ask(lambda conn: conn.listAllStoragePools(flags))
        return sorted(pool.name() for pool in found)

    def status(self, pool: str) -> tuple[bool, bool, bool]:
        with self._asked():
            it = self._pool(pool)
            return bool(it.isActive()), bool(it.isPersistent()), bool(it.autostart())

    def info(self, pool: str) -> tuple[int, int, int, int]:
        with self._asked():
            state, capacity, allocation, available = self._pool(pool).info()
            return state, capacity, allocation, available

    def xml(self, pool: str, flags: int) -> str:
        with self._asked():
            return str(self._pool(pool).XMLDesc(flags))

    def by_uuid(self, uuid: str) -> str:
        return str(self.ask(lambda conn: conn.storagePoolLookupByUUIDString(uuid).name()))

    def by_target(self, target: str) -> str:
        return str(self.ask(lambda conn: conn.storagePoolLookupByTargetPath(target).name()))

    def volumes(self, pool: str) -> list[str]:
        with self._asked():
            return sorted(volume.name() for volume in self._pool(pool).listAllVolumes())

    def create_volume(self, pool: str, document: str, flags: int) -> None:
        with self._asked():
            self._pool(pool).createXML(document, flags)

    def clone_volume(self, pool: str, document: str, source: tuple[str, str]) -> None:
        with self._asked():
            self._pool(pool).createXMLFrom(document, self._volume(*source), 0)

    def delete_volume(self, pool: str, name: str) -> None:
        with self._asked():
            self._volume(pool, name).delete(0)

    def resize_volume(self, pool: str, name: str, capacity: int, flags: int) -> None:
        with self._asked():
            self._volume(pool, name).resize(capacity, flags)

    def capacity(self, pool: str, name: str) -> int:
        with self._asked():
            return int(self._volume(pool, name).info()[1])

    def allocation(self, pool: str, name: str) -> int:
        with self._asked():
            return int(self._volume(pool, name).info()[2])

    def volume_xml(self, pool: str, name: str) -> str:
        with self._asked():
            return str(self._volume(pool, name).XMLDesc(0))

    def volume_by_path(self, path: str) -> tuple[str, str]:
        with self._asked():
            volume = self.connection.storageVolLookupByPath(path)
            return volume.storagePoolLookupByVolume().name(), volume.name()

    def volume_by_its_key(self, pool: str, name: str) -> tuple[str, str]:
        with self._asked():
            volume = self.connection.storageVolLookupByKey(self._volume(pool, name).key())
            return volume.storagePoolLookupByVolume().name(), volume.name()


class Ours:
    """Volary."""

    def __init__(self, connection: volary.Connection, home: Path) -> None:
        self.home = home
        self.connection = connection

    def ask(self, question: Callable[[volary.Connection], T]) -> T:
        try:
            return question(self.connection)
        except volary.VolaryError as error:
            raise Refused(error.code, f"{type(error).__name__}: {error}") from error

    def _ask(self, pool: str, question: Callable[[volary.Pool], T]) -> T:
        return self.ask(lambda conn: question(conn.pool(pool)))

    def define(self, document: str) -> None:
        self.ask(lambda conn: conn.define_pool(document))

    def create(self, document: str, flags: int) -> None:
        self.ask(lambda conn: conn.create_pool(document, flags))

    def start(self, pool: str, flags: int) -> None:
        self._ask(pool, lambda it: it.start(flags))

    def stop(self, pool: str) -> None:
        self._ask(pool, volary.Pool.stop)

    def build(self, pool: str, flags: int) -> None:
        self._ask(pool, lambda it: it.build(flags))

    def delete(self, pool: str, flags: int) -> None:
        self._ask(pool, lambda it: it.delete(flags))

    def undefine(self, pool: str) -> None:
        self._ask(pool, volary.Pool.undefine)

    def set_autostart(self, pool: str, *, on: bool) -> None:
        self._ask(pool, lambda it: setattr(it, "autostart", on))

    def refresh(self, pool: str) -> None:
        self._ask(pool, volary.Pool.refresh)

    def pools(self, flags: int) -> list[str]:
        return [pool.name for pool in self.ask(lambda conn: conn.pools(flags))]

    def status(self, pool: str) -> tuple[bool, bool, bool]:
        return self._ask(pool, lambda it: (it.is_active, it.is_persistent, it.autostart))

    def info(self, pool: str) -> tuple[int, int, int, int]:
        info = self._ask(pool, volary.Pool.info)
        return info.state, info.capacity, info.allocation, info.available

    def xml(self, pool: str, flags: int) -> str:
        return self._ask(pool, lambda it: it.xml(flags))

    def by_uuid(self, uuid: str) -> str:
        return self.ask(lambda conn: conn.pool(UUID(uuid)).name)

    def by_target(self, target: str) -> str:
        return self.ask(lambda conn: conn.pool_by_target(target).name)

    def volumes(self, pool: str) -> list[str]:
        return self._ask(pool, lambda it: [volume.name for volume in it.volumes()])

    def create_volume(self, pool: str, document: str, flags: int) -> None:
        self._ask(pool, lambda it: it.create_volume(document, flags))

    def clone_volume(self, pool: str, document: str, source: tuple[str, str]) -> None:
        def clone(conn: volary.Connection) -> None:
            conn.pool(pool).clone_volume(conn.pool(source[0]).volume(source[1]), document)

        self.ask(clone)

    def delete_volume(self, pool: str, name: str) -> None:
        self._ask(pool, lambda it: it.volume(name).delete())

    def resize_volume(self, pool: str, name: str, capacity: int, flags: int) -> None:
        self._ask(pool, lambda it: it.volume(name).resize(capacity, flags))

    def capacity(self, pool: str, name: str) -> int:
        return self._ask(pool, lambda it: it.volume(name).info().capacity)

    def volume_xml(self, pool: str, name: str) -> str:
        return self._ask(pool, lambda it: it.volume(name).xml())

    def volume_by_path(self, path: str) -> tuple[str, str]:
        volume = self.ask(lambda conn: conn.volume(path=path))
        return volume.pool.name, volume.name

    def volume_by_its_key(self, pool: str, name: str) -> tuple[str, str]:
        key = self._ask(pool, lambda it: it.volume(name).key)
        volume = self.ask(lambda conn: conn.volume(key=key))
        return volume.pool.name, volume.name


def outcome(peer: Peer, call: Callable[[Peer], T]) -> T | Refused:
    """Return what the peer answers, or its refusal."""
    try:
        return call(peer)
    except Refused as refused:
        return refused


def plain(peer: Peer, document: str) -> str:
    """Return a document without what is one peer's own: its home, sizes other than 0, times, and
    the keys of volumes.
    """
    for pattern, word in _OWN:
        document = pattern.sub(rf"\1{word}\2", document)
    return document.replace(os.fspath(peer.home), "HOME")
