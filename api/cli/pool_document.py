"""A pool as the command shows it."""

from __future__ import annotations

from typing import Any

from volary.api.cli.option_words import in_options
from volary.api.pool import Pool
from volary.engine.errors import VolaryError
from volary.engine.flags import PoolXml
from volary.engine.pool_document import read_pool_document
from volary.engine.pool_spec import PoolSpec
from volary.engine.size import format_size


def pool_document(pool: Pool, problem: VolaryError | None = None) -> dict[str, Any]:
    """Return a pool for a program: sizes in bytes, None for what only an active pool knows."""
    active = pool.is_active
    space = pool.info()
    source = definition(pool).source
    return {
        "name": pool.name,
        "uuid": str(pool.uuid),
        "type": pool.type,
        "state": space.state.name.lower(),
        "persistent": pool.is_persistent,
        "autostart": pool.autostart,
        "target": pool.target,
        "devices": [device.path for device in source.devices],
        "format": source.format,
        "volumes": len(pool.volume_infos()) if active else None,
        "capacity": space.capacity if active else None,
        "allocation": space.allocation if active else None,
        "available": space.available if active else None,
        "problem": None if problem is None else in_options(str(problem)),
    }


def definition(pool: Pool) -> PoolSpec:
    """Return what the pool is defined as."""
    return read_pool_document(pool.xml(PoolXml.INACTIVE))


def contents(pool: Pool) -> str:
    """Return what is in an active pool, as a clause."""
    count = len(pool.volume_infos())
    free = format_size(pool.info().available)
    return f"{count} {'volume' if count == 1 else 'volumes'}, {free} available"
