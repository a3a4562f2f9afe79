"""Users and groups by name or number."""

from __future__ import annotations

import grp
import pwd

from volary.engine.errors import InvalidSpec


def user_id(user: str | None) -> int | None:
    """Return the numeric id of a user; raises `InvalidSpec` for one that is unknown."""
    if user is None or user.isdecimal():
        return None if user is None else int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise InvalidSpec(f"owner: no user is called {user!r}") from None


def group_id(group: str | None) -> int | None:
    """Return the numeric id of a group; raises `InvalidSpec` for one that is unknown."""
    if group is None or group.isdecimal():
        return None if group is None else int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise InvalidSpec(f"group: no group is called {group!r}") from None
