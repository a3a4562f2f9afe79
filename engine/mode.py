"""Permission bits and numeric owners."""

from __future__ import annotations

from typing import Final, TypeAlias

from volary.engine.errors import InvalidSpec

Mode: TypeAlias = int | str
"""Permission bits: 0o640, or octal digits such as "0640"."""

LARGEST_MODE: Final = 0o777
"""libvirt's documents, which definitions are stored in, hold no set-id or sticky bits."""

_LARGEST_ID = 2**32 - 2  # (uid_t)-1 means "leave it" to chown(2)


def parse_mode(mode: Mode, what: str) -> int:
    """Return the permission bits, or raise `InvalidSpec` naming `what`."""
    if isinstance(mode, str):
        try:
            mode = int(mode, 8)
        except ValueError:
            raise InvalidSpec(f"{what}: {mode!r} is not octal, such as '0640'") from None
    if isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= LARGEST_MODE:
        raise InvalidSpec(f"{what}: {mode!r} is not within 0 and {LARGEST_MODE:#o}")
    return mode


def check_id(number: int | None, what: str) -> int | None:
    """Return a user's or group's id, or raise `InvalidSpec` naming `what`."""
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _LARGEST_ID:
        raise InvalidSpec(f"{what}: {number!r} is no numeric id")
    return number


def same_if_none(number: int | None) -> int:
    """Return an id as chown(2) takes it: -1 leaves the owner or the group as it is."""
    return -1 if number is None else number
