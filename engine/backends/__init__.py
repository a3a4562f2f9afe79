"""One file a pool type: sequential code, no actors, no threads."""

from __future__ import annotations

from volary.engine.backends.backend import ActivePool, Backend
from volary.engine.backends.directory import DirectoryBackend
from volary.engine.backends.open_volume import OpenVolume
from volary.engine.pool_spec import PoolSpec

_BACKENDS: dict[str, type[Backend]] = {"dir": DirectoryBackend}

__all__ = ["ActivePool", "Backend", "OpenVolume", "backend_for"]


def backend_for(spec: PoolSpec) -> Backend:
    """Return the backend of the pool's type."""
    return _BACKENDS[spec.type](spec)
