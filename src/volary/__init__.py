"""Storage pools and volumes for Python services.

`volary.open()` gives a `Connection`; its pools create volumes, and every long operation is a
`Job` that a caller waits for, awaits, watches, pauses, limits or cancels.
"""

from volary.api.connection import Connection, open  # noqa: A004 - volary.open, like gzip.open
from volary.api.pool import Pool
from volary.api.volume import Volume
from volary.api.volume_stream import VolumeStream
from volary.engine.actors.job import Job, JobState
from volary.engine.backing_chain import ChainLink
from volary.engine.encryption import Encryption
from volary.engine.errors import (
    AccessDenied,
    BackendMissing,
    ConnectionClosed,
    ErrorCode,
    InternalFailure,
    InvalidDocument,
    InvalidSpec,
    JobCancelled,
    JobNotFound,
    NoSpace,
    NotInSchema,
    PoolActive,
    PoolBusy,
    PoolCrashed,
    PoolExists,
    PoolInactive,
    PoolNotFound,
    ReadOnly,
    SourceNotEmpty,
    SourceUnusable,
    StateDirectoryBusy,
    StorageFailed,
    TargetNotEmpty,
    TargetUnusable,
    ToolFailed,
    ToolMissing,
    TransferFailed,
    TransferOutOfSpace,
    UnknownValue,
    Unsupported,
    VolaryError,
    VolumeBusy,
    VolumeExists,
    VolumeNotFound,
    VolumeUnreadable,
)
from volary.engine.flags import (
    ASYNC,
    Async,
    PoolBuild,
    PoolDefine,
    PoolDelete,
    PoolFlags,
    PoolList,
    PoolStart,
    PoolXml,
    VolumeCreate,
    VolumeDelete,
    VolumeDownload,
    VolumeResize,
    VolumeUpload,
    VolumeWipe,
)
from volary.engine.hole import Hole
from volary.engine.image_info import BackingFile, ImageInfo
from volary.engine.pool_info import PoolInfo, PoolState
from volary.engine.pool_source import (
    FcHostAdapter,
    ParentAddress,
    PoolSource,
    ScsiHostAdapter,
    SourceAuth,
    SourceDevice,
    SourceHost,
)
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Progress
from volary.engine.secret import Secret
from volary.engine.settings import Settings
from volary.engine.size import format_size, parse_size
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec
from volary.engine.wipe_algorithm import WipeAlgorithm

__version__ = "0.1.0"

__all__ = [
    "ASYNC",
    "AccessDenied",
    "Async",
    "BackendMissing",
    "BackingFile",
    "ChainLink",
    "Connection",
    "ConnectionClosed",
    "Encryption",
    "ErrorCode",
    "FcHostAdapter",
    "Hole",
    "ImageInfo",
    "InternalFailure",
    "InvalidDocument",
    "InvalidSpec",
    "Job",
    "JobCancelled",
    "JobNotFound",
    "JobState",
    "NoSpace",
    "NotInSchema",
    "ParentAddress",
    "Pool",
    "PoolActive",
    "PoolBuild",
    "PoolBusy",
    "PoolCrashed",
    "PoolDefine",
    "PoolDelete",
    "PoolExists",
    "PoolFlags",
    "PoolInactive",
    "PoolInfo",
    "PoolList",
    "PoolNotFound",
    "PoolSource",
    "PoolSpec",
    "PoolStart",
    "PoolState",
    "PoolXml",
    "Progress",
    "ReadOnly",
    "ScsiHostAdapter",
    "Secret",
    "Settings",
    "SourceAuth",
    "SourceDevice",
    "SourceHost",
    "SourceNotEmpty",
    "SourceUnusable",
    "StateDirectoryBusy",
    "StorageFailed",
    "TargetNotEmpty",
    "TargetUnusable",
    "ToolFailed",
    "ToolMissing",
    "TransferFailed",
    "TransferOutOfSpace",
    "UnknownValue",
    "Unsupported",
    "VolaryError",
    "Volume",
    "VolumeBusy",
    "VolumeCreate",
    "VolumeDelete",
    "VolumeDownload",
    "VolumeExists",
    "VolumeInfo",
    "VolumeNotFound",
    "VolumeResize",
    "VolumeSpec",
    "VolumeStream",
    "VolumeUnreadable",
    "VolumeUpload",
    "VolumeWipe",
    "WipeAlgorithm",
    "__version__",
    "format_size",
    "open",
    "parse_size",
]
