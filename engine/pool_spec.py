"""What a pool is."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from volary.engine.errors import InvalidSpec
from volary.engine.mode import Mode, check_id, parse_mode
from volary.engine.names import LONGEST, character_problem, check_name

POOL_TYPES = ("dir",)
"""Pool types that have a backend."""

_LONGEST_POOL_NAME = LONGEST - len(".xml")  # its definition is NAME.xml in the state directory
_LONGEST_PATH = 4095  # PATH_MAX of limits.h, less the NUL


@dataclass(frozen=True, slots=True, init=False)
class PoolSpec:
    """What a pool is.

    name: one path component, at most 251 bytes.
    type: "dir", a directory whose files are the volumes.
    target: the absolute path of that directory.
    uuid: the pool's UUID; made when the pool is defined, if not given.
    mode, owner, group: permissions that `build` gives the target; 0711, and those of the process,
        if not given.

    Raises `InvalidSpec` saying which part cannot be meant so.
    """

    name: str
    type: str
    target: str
    uuid: UUID | None
    mode: int | None
    owner: int | None
    group: int | None

    def __init__(
        self,
        name: str,
        *,
        type: str = "dir",  # noqa: A002 - libvirt's word
        target: str | os.PathLike[str],
        uuid: UUID | str | None = None,
        mode: Mode | None = None,
        owner: int | None = None,
        group: int | None = None,
    ) -> None:
        where = f"pool {name!r}"
        put = object.__setattr__
        put(self, "name", check_name(name, "pool", longest=_LONGEST_POOL_NAME))
        if type not in POOL_TYPES:
            raise InvalidSpec(f"{where}: unknown type {type!r}; known: {', '.join(POOL_TYPES)}")
        put(self, "type", type)
        put(self, "target", _check_target(target, where))
        put(self, "uuid", _check_uuid(uuid, where))
        put(self, "mode", None if mode is None else parse_mode(mode, f"{where}: mode"))
        put(self, "owner", check_id(owner, f"{where}: owner"))
        put(self, "group", check_id(group, f"{where}: group"))

    def with_uuid(self) -> PoolSpec:
        """Return this spec with a UUID: its own, or a new random one."""
        return self if self.uuid is not None else replace(self, uuid=uuid4())


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
