"""Storage pools and volumes for Python services.

`volary.open()` gives a `Connection`; its pools create volumes, and every long operation is a
`Job` that a caller waits for, awaits, watches, pauses, limits or cancels.
"""

from volary.api.connection import Connection, open  # noqa: A004 - volary.open, like gzip.open
from volary.api.pool import Pool
from volary.api.volume import Volume
from volary.engine.actors.job import Job, JobState
from volary.engine.errors import (
    AccessDenied,
    ConnectionClosed,
    ErrorCode,
    InternalFailure,
    InvalidDocument,
    InvalidSpec,
    JobCancelled,
    JobNotFound,
    NoSpace,
    PoolActive,
    PoolBusy,
    PoolCrashed,
    PoolExists,
    PoolInactive,
    PoolNotFound,
    ReadOnly,
    StateDirectoryBusy,
    StorageFailed,
    TargetNotEmpty,
    TargetUnusable,
    VolaryError,
    VolumeBusy,
    VolumeExists,
    VolumeNotFound,
)
from volary.engine.flags import ASYNC, Async, PoolFlags, PoolStart, VolumeCreate, VolumeDelete
from volary.engine.pool_info import PoolInfo, PoolState
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Progress
from volary.engine.settings import Settings
from volary.engine.size import format_size, parse_size
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec

__version__ = "0.1.0"

__all__ = [
    "ASYNC",
    "AccessDenied",
    "Async",
    "Connection",
    "ConnectionClosed",
    "ErrorCode",
    "InternalFailure",
    "InvalidDocument",
    "InvalidSpec",
    "Job",
    "JobCancelled",
    "JobNotFound",
    "JobState",
    "NoSpace",
    "Pool",
    "PoolActive",
    "PoolBusy",
    "PoolCrashed",
    "PoolExists",
    "PoolFlags",
    "PoolInactive",
    "PoolInfo",
    "PoolNotFound",
    "PoolSpec",
    "PoolStart",
    "PoolState",
    "Progress",
    "ReadOnly",
    "Settings",
    "StateDirectoryBusy",
    "StorageFailed",
    "TargetNotEmpty",
    "TargetUnusable",
    "VolaryError",
    "Volume",
    "VolumeBusy",
    "VolumeCreate",
    "VolumeDelete",
    "VolumeExists",
    "VolumeInfo",
    "VolumeNotFound",
    "VolumeSpec",
    "__version__",
    "format_size",
    "open",
    "parse_size",
]
