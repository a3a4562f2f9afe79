"""One file a pool type: sequential code, no actors, no threads."""

from __future__ import annotations

from volary.engine.backends.backend import ActivePool, Backend
from volary.engine.backends.directory import DirectoryBackend
from volary.engine.backends.open_volume import OpenVolume
from volary.engine.errors import BackendMissing
from volary.engine.pool_spec import PoolSpec

BACKENDS: dict[str, type[Backend]] = {backend.type: backend for backend in (DirectoryBackend,)}
"""What there is for each pool type that can be started."""

__all__ = ["BACKENDS", "ActivePool", "Backend", "OpenVolume", "backend_for"]


def backend_for(spec: PoolSpec) -> Backend:
    """Return the backend of the pool's type; raises `BackendMissing`."""
    backend = BACKENDS.get(spec.type)
    if backend is None:
        raise BackendMissing(
            f"pool {spec.name!r} is of type {spec.type!r}, for which there is no backend yet: it "
            f"can be defined and described, but not built or started; there are backends for "
            f"{', '.join(BACKENDS)}"
        )
    return backend(spec)
