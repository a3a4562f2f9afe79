"""One file a pool type: sequential code, no actors, no threads."""

from __future__ import annotations

from volary.engine.backends.backend import ActivePool, Backend
from volary.engine.backends.directory import DirectoryBackend
from volary.engine.backends.disk import DiskBackend
from volary.engine.backends.file_system_pool import FileSystemBackend
from volary.engine.backends.open_volume import OpenVolume
from volary.engine.errors import BackendMissing, InvalidSpec
from volary.engine.pool_spec import PoolSpec
from volary.engine.pool_type import POOL_TYPES

BACKENDS: dict[str, type[Backend]] = {
    backend.type: backend for backend in (DirectoryBackend, FileSystemBackend, DiskBackend)
}
"""What there is for each pool type that can be started."""

__all__ = ["BACKENDS", "ActivePool", "Backend", "OpenVolume", "backend_class", "backend_for"]


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


def backend_class(type_name: str) -> type[Backend]:
    """Return what there is for a pool type; raises `InvalidSpec` for one that there is not, and
    `BackendMissing`.
    """
    if type_name not in POOL_TYPES:
        raise InvalidSpec(f"unknown pool type {type_name!r}; known: {', '.join(POOL_TYPES)}")
    backend = BACKENDS.get(type_name)
    if backend is None:
        raise BackendMissing(
            f"there is no backend for pools of type {type_name!r} yet, but for "
            f"{', '.join(BACKENDS)}"
        )
    return backend
