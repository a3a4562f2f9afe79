"""Which pools are listed."""

from __future__ import annotations

from typing import Final

from volary.engine.flags import PoolList
from volary.engine.pool_info import PoolStatus

_STATES: Final = (
    (PoolList.ACTIVE, PoolList.INACTIVE),
    (PoolList.PERSISTENT, PoolList.TRANSIENT),
    (PoolList.AUTOSTART, PoolList.NO_AUTOSTART),
)
_TYPES: Final = {
    flag.name.lower().replace("_", "-"): flag
    for flag in PoolList
    if flag.name is not None and flag >= PoolList.DIR
}


def is_listed(status: PoolStatus, flags: int) -> bool:
    """Say whether a pool has one of each group of flags from which any is given."""
    definition = status.definition
    has = (status.active, definition.is_persistent, definition.autostart)
    for (yes, no), is_so in zip(_STATES, has, strict=True):
        if flags & (yes | no) and not flags & (yes if is_so else no):
            return False
    types = flags & ~(int(PoolList.DIR) - 1)
    return not types or bool(types & _TYPES[status.spec.type])
