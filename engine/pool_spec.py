"""What a pool is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from volary.engine.errors import InvalidSpec
from volary.engine.mode import Mode, check_id, parse_mode
from volary.engine.names import LONGEST, character_problem, check_name
from volary.engine.pool_source import PoolSource
from volary.engine.pool_type import POOL_TYPES, PoolType

_LONGEST_POOL_NAME = LONGEST - len(".xml")  # its definition is NAME.xml in the state directory
_MADE_TARGETS = {"logical": "/dev", "zfs": "/dev/zvol"}
"""Where the kernel's drivers put the volumes of a group; libvirt takes no other target."""

_LONGEST_PATH = 4095  # PATH_MAX of limits.h, less the NUL


@dataclass(frozen=True, slots=True, init=False)
class PoolSpec:
    """What a pool is.

    name: one path component, at most 251 bytes.
    type: "dir", a directory whose files are the volumes; "fs", a file system to be mounted;
        "disk", a disk whose partitions are the volumes; or another one of libvirt's, which can be
        defined and described.
    target: the absolute path that its volumes are found below: the directory, the place to mount
        at, "/dev" for partitions. "" for types that have none; "logical" and "zfs" make theirs
        from the source's name.
    source: where the storage comes from.
    uuid: the pool's UUID; made when the pool is defined, if not given.
    mode, owner, group, label: permissions that `build` gives the target; 0711, and those of the
        process, if not given. The label is SELinux's.
    cow: whether the target is to copy on write, where its file system can choose (btrfs).
    refresh_allocation: "capacity" to take each volume's capacity for its allocation, which saves
        a look; "default" or None to look.
    mount_options: for "fs" and "netfs", what mount(8) takes after -o.
    config_options: for "rbd", names and values of Ceph's configuration.

    Raises `InvalidSpec` saying which part cannot be meant so.
    """

    name: str
    type: str
    target: str
    source: PoolSource
    uuid: UUID | None
    mode: int | None
    owner: int | None
    group: int | None
    label: str | None
    cow: bool | None
    refresh_allocation: str | None
    mount_options: tuple[str, ...]
    config_options: tuple[tuple[str, str], ...]

    def __init__(
        self,
        name: str,
        *,
        type: str = "dir",  # noqa: A002 - libvirt's word
        target: str | os.PathLike[str] = "",
        source: PoolSource | None = None,
        uuid: UUID | str | None = None,
        mode: Mode | None = None,
        owner: int | None = None,
        group: int | None = None,
        label: str | None = None,
        cow: bool | None = None,
        refresh_allocation: str | None = None,
        mount_options: Sequence[str] = (),
        config_options: Sequence[tuple[str, str]] = (),
    ) -> None:
        where = f"pool {name!r}"
        put = object.__setattr__
        put(self, "name", check_name(name, "pool", longest=_LONGEST_POOL_NAME))
        type_ = POOL_TYPES.get(type) if isinstance(type, str) else None
        if type_ is None:
            raise InvalidSpec(f"{where}: unknown type {type!r}; known: {', '.join(POOL_TYPES)}")
        put(self, "type", type)
        put(self, "source", _complete(source or PoolSource(), type_, name))
        put(self, "target", _target(target, self.source, type_, where))
        put(self, "uuid", _check_uuid(uuid, where))
        put(self, "mode", None if mode is None else parse_mode(mode, f"{where}: mode"))
        put(self, "owner", check_id(owner, f"{where}: owner"))
        put(self, "group", check_id(group, f"{where}: group"))
        put(self, "label", label)
        put(self, "cow", cow)
        put(self, "refresh_allocation", refresh_allocation)
        put(self, "mount_options", tuple(mount_options))
        put(self, "config_options", tuple(config_options))

    def with_uuid(self) -> PoolSpec:
        """Return this spec with a UUID: its own, or a new random one."""
        return self if self.uuid is not None else replace(self, uuid=uuid4())


def _complete(source: PoolSource, type_: PoolType, pool: str) -> PoolSource:
    """Return the source with what it has if nothing is said."""
    if source.format is None and type_.formats:
        source = replace(source, format=type_.default_format)
    if source.name is None and "name" in type_.source:
        source = replace(source, name=pool)
    if source.directory is None and type_.name == "gluster":
        source = replace(source, directory="/")
    return source


def _target(
    target: str | os.PathLike[str], source: PoolSource, type_: PoolType, where: str
) -> str:
    """Return the path that the volumes are found below."""
    if not type_.has_target:
        return ""
    if type_.name in _MADE_TARGETS:
        return _check_target(f"{_MADE_TARGETS[type_.name]}/{source.name}", where)
    return _check_target(target, where)


def normal_target(target: str | os.PathLike[str]) -> str:
    """Return a path in the form that targets have, in which one can be compared with another.

    Raises `InvalidSpec` for what is no path.
    """
    try:
        path = os.fspath(target)
    except TypeError:
        path = ""
    if not isinstance(path, str) or not path:
        raise InvalidSpec(f"target {target!r} is no path; give an absolute one as a str or a Path")
    path = os.path.normpath(path)
    # POSIX lets two slashes begin something else, and normpath keeps them; Linux does not.
    return path[1:] if path.startswith("//") else path


def _check_target(target: str | os.PathLike[str], where: str) -> str:
    try:
        normal = normal_target(target)
    except InvalidSpec as error:
        raise InvalidSpec(f"{where}: {error}") from None
    path = os.fspath(target)
    problem = character_problem(path)
    if problem is not None:
        raise InvalidSpec(f"{where}: target {path!r} {problem}")
    if not path.startswith("/"):
        raise InvalidSpec(f"{where}: target {path!r} is relative; give an absolute path")
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidSpec(f"{where}: target {path!r} is not valid UTF-8") from None
    if length > _LONGEST_PATH:
        raise InvalidSpec(f"{where}: target has {length} bytes; at most {_LONGEST_PATH} go")
    return normal


def _check_uuid(uuid: UUID | str | None, where: str) -> UUID | None:
    if uuid is None or isinstance(uuid, UUID):
        return uuid
    try:
        return UUID(uuid)
    except (ValueError, AttributeError, TypeError):
        raise InvalidSpec(f"{where}: uuid {uuid!r} is none; give 32 hexadecimal digits") from None
