"""What a pool is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID, uuid4

from volary.engine.errors import InvalidSpec
from volary.engine.mode import Mode, check_id, parse_mode
from volary.engine.names import LONGEST, character_problem, check_name, check_text
from volary.engine.pool_source import (
    MADE_TARGETS,
    PoolSource,
    check_choice,
    check_sequence,
    check_source,
    complete_source,
    tidy_path,
)
from volary.engine.pool_type import POOL_TYPES, PoolType
from volary.engine.shown import shown
from volary.engine.uuid_text import parse_uuid

_LONGEST_POOL_NAME = LONGEST - len(".xml")  # its definition is NAME.xml in the state directory
REFRESH_ALLOCATIONS: Final = ("default", "capacity")
COW_TYPES: Final = ("dir", "fs")
MOUNTED_TYPES: Final = ("fs", "netfs")
CONFIGURED_TYPES: Final = ("rbd",)

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
        where = f"pool {shown(name)}"
        put = object.__setattr__
        put(self, "name", check_pool_name(name))
        type_ = POOL_TYPES.get(type) if isinstance(type, str) else None
        if type_ is None:
            raise InvalidSpec(
                f"{where}: unknown type {shown(type)}; known: {', '.join(POOL_TYPES)}"
            )
        put(self, "type", type)
        if not isinstance(source, PoolSource | None):
            raise InvalidSpec(f"{where}: source: {shown(source)} is no PoolSource")
        put(self, "source", complete_source(source or PoolSource(), type_, name))
        check_source(self.source, type_, where)
        put(self, "target", _target(target, self.source, type_, where))
        put(self, "uuid", _check_uuid(uuid, where))
        put(self, "mode", None if mode is None else parse_mode(mode, f"{where}: mode"))
        put(self, "owner", check_id(owner, f"{where}: owner"))
        put(self, "group", check_id(group, f"{where}: group"))
        put(self, "label", label)
        put(self, "cow", cow)
        put(self, "refresh_allocation", refresh_allocation)
        put(self, "mount_options", _texts(mount_options, f"{where}: mount_options"))
        put(self, "config_options", _pairs(config_options, f"{where}: config_options"))
        self._check(type_, where)

    def _check(self, type_: PoolType, where: str) -> None:
        """Refuse what pools of this type do not have."""
        if self.label is not None:
            check_text(self.label, f"{where}: label")
        check_choice(self.cow, f"{where}: cow")
        if self.refresh_allocation not in (None, *REFRESH_ALLOCATIONS):
            raise InvalidSpec(
                f"{where}: unknown refresh_allocation {shown(self.refresh_allocation)}; known: "
                + ", ".join(REFRESH_ALLOCATIONS)
            )
        permissions = (self.mode, self.owner, self.group, self.label)
        for what, given, types in (
            ("mode, owner, group and label", permissions != (None,) * 4, _types_with_target()),
            ("cow", self.cow is not None, COW_TYPES),
            ("mount_options", bool(self.mount_options), MOUNTED_TYPES),
            ("config_options", bool(self.config_options), CONFIGURED_TYPES),
        ):
            if given and type_.name not in types:
                raise InvalidSpec(
                    f"{where}: {what} are not for type {type_.name!r}, but for {', '.join(types)}"
                )

    def with_uuid(self) -> PoolSpec:
        """Return this spec with a UUID: its own, or a new random one."""
        return self if self.uuid is not None else replace(self, uuid=uuid4())


def check_pool_name(name: str) -> str:
    """Return a pool's name; raises `InvalidSpec` for what cannot be one."""
    return check_name(name, "pool", longest=_LONGEST_POOL_NAME)


def _types_with_target() -> tuple[str, ...]:
    return tuple(type_.name for type_ in POOL_TYPES.values() if type_.has_target)


def _texts(texts: Sequence[str], what: str) -> tuple[str, ...]:
    found = check_sequence(texts, what)
    for text in found:
        check_text(text, what)
    return found


def _pairs(pairs: Sequence[tuple[str, str]], what: str) -> tuple[tuple[str, str], ...]:
    found = check_sequence(pairs, what)
    for pair in found:
        if not isinstance(pair, tuple) or len(pair) != 2:  # noqa: PLR2004 - a name and a value
            raise InvalidSpec(f"{what}: {shown(pair)} is no tuple of a name and a value")
        for text in pair:
            check_text(text, what)
    return found


def _target(
    target: str | os.PathLike[str], source: PoolSource, type_: PoolType, where: str
) -> str:
    """Return the path that the volumes are found below."""
    if type_.name in MADE_TARGETS:
        made = tidy_path(f"{MADE_TARGETS[type_.name]}/{source.name}")
    elif not type_.has_target:
        made = ""
    else:
        return check_target(target, where)
    if target and _path(target, f"{where}: ") != made:
        raise InvalidSpec(
            f"{where}: target {shown(target)}: type {type_.name!r} "
            + (f"has {made!r}" if made else "has none")
            + "; leave it out"
        )
    return check_target(made, where) if made else ""


def _path(target: str | os.PathLike[str], where: str = "") -> str:
    try:
        path = os.fspath(target)
    except TypeError:
        path = ""
    if not isinstance(path, str) or not path:
        raise InvalidSpec(
            f"{where}target {shown(target)} is no path; give an absolute one as a str or a Path"
        )
    return path


def normal_target(target: str | os.PathLike[str]) -> str:
    """Return a path without "." and "..", by its letters alone, to compare with another.

    Raises `InvalidSpec` for what is no path.
    """
    path = _path(target)
    path = os.path.normpath(path)
    # POSIX lets two slashes begin something else, and normpath keeps them; Linux does not.
    return path[1:] if path.startswith("//") else path


def check_target(target: str | os.PathLike[str], where: str) -> str:
    """Return a target as it is kept; raises `InvalidSpec` for what cannot be one."""
    path = _path(target, f"{where}: ")
    problem = character_problem(path)
    if problem is not None:
        raise InvalidSpec(f"{where}: target {shown(path)} {problem}")
    if not path.startswith("/"):
        raise InvalidSpec(f"{where}: target {shown(path)} is relative; give an absolute path")
    length = len(path.encode())
    if length > _LONGEST_PATH:
        raise InvalidSpec(f"{where}: target has {length} bytes; at most {_LONGEST_PATH} go")
    return tidy_path(path)


def _check_uuid(uuid: UUID | str | None, where: str) -> UUID | None:
    if uuid is None or isinstance(uuid, UUID):
        return uuid
    found = parse_uuid(uuid) if isinstance(uuid, str) else None
    if found is None:
        raise InvalidSpec(f"{where}: uuid {shown(uuid)} is none; give 32 hexadecimal digits")
    return found
