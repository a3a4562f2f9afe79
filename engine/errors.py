"""Every error that Volary raises: one class a kind of failure, each with libvirt's code.

The codes are those of libvirt's `virErrorNumber`, so that a libvirt client that meets one over
the wire knows it.
"""

from __future__ import annotations

import errno
import os
from concurrent.futures import CancelledError
from enum import IntEnum
from typing import ClassVar


class ErrorCode(IntEnum):
    """libvirt's `virErrorNumber`, as far as storage uses it."""

    INTERNAL_ERROR = 1
    NO_SUPPORT = 3
    INVALID_CONN = 6
    INVALID_ARG = 8
    OPERATION_FAILED = 9
    XML_ERROR = 27
    XML_DETAIL = 35
    SYSTEM_ERROR = 38
    NO_STORAGE_POOL = 49
    NO_STORAGE_VOL = 50
    OPERATION_INVALID = 55
    NO_SECRET = 66
    CONFIG_UNSUPPORTED = 67
    STORAGE_PROBE_FAILED = 75
    STORAGE_POOL_BUILT = 76
    OPERATION_ABORTED = 78
    OVERFLOW = 82
    OPERATION_UNSUPPORTED = 84
    RESOURCE_BUSY = 87
    ACCESS_DENIED = 88
    STORAGE_VOL_EXIST = 90
    XML_INVALID_SCHEMA = 92
    DEVICE_MISSING = 99


class VolaryError(Exception):
    """What every error of Volary is: its text says what was wrong, where, and what would help."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL_ERROR


class InvalidSpec(VolaryError, ValueError):  # noqa: N818 - a public name of the design
    """A name, a size, a mode or another part of a specification cannot be meant so."""

    code = ErrorCode.INVALID_ARG


class InvalidDocument(InvalidSpec):
    """An XML document is not well-formed, or is not the document that was asked for."""

    code = ErrorCode.XML_ERROR


class MalformedDocument(InvalidDocument):
    """A document is not well-formed XML, or XML that is not read, such as one with entities."""

    code = ErrorCode.XML_DETAIL


class MalformedWwn(InvalidDocument):
    """An XML document has a World Wide Name that is none; the code is libvirt's for it."""

    code = ErrorCode.INTERNAL_ERROR


class UnavailableFeature(InvalidDocument):
    """An XML document asks for a feature that pools of its type do not have."""

    code = ErrorCode.NO_SUPPORT


class UnknownValue(InvalidDocument):
    """An XML document has a value, such as a format, that is none of those known."""

    code = ErrorCode.CONFIG_UNSUPPORTED


class UnknownUnit(InvalidDocument):
    """An XML document has a size in a unit that is none."""

    code = ErrorCode.INVALID_ARG


class TooLarge(InvalidDocument):
    """An XML document has a size that is more than a file can have."""

    code = ErrorCode.OVERFLOW


class NotInSchema(InvalidDocument):
    """An XML document has an element or attribute that nobody reads, and was to be validated."""

    code = ErrorCode.XML_INVALID_SCHEMA


class ConflictingValues(InvalidSpec):
    """Each of two parts of a specification is fine, and both together are not."""

    code = ErrorCode.CONFIG_UNSUPPORTED


class PassphraseMissing(InvalidSpec):
    """A volume is to be encrypted with a secret that nobody has given."""

    code = ErrorCode.NO_SECRET


class PoolNotFound(VolaryError, LookupError):  # noqa: N818
    """No pool has this name, UUID or target."""

    code = ErrorCode.NO_STORAGE_POOL


class PoolExists(VolaryError):  # noqa: N818
    """Another pool has this name, UUID or target already."""

    code = ErrorCode.OPERATION_FAILED


class PoolInactive(VolaryError):  # noqa: N818
    """The call needs an active pool, and this one is not started."""

    code = ErrorCode.OPERATION_INVALID


class PoolActive(VolaryError):  # noqa: N818
    """The call needs a stopped pool, and this one is active."""

    code = ErrorCode.OPERATION_INVALID


class PoolTransient(VolaryError):  # noqa: N818
    """The call needs a persistent pool, and this one has no stored definition."""

    code = ErrorCode.INTERNAL_ERROR


class PoolBusy(VolaryError):  # noqa: N818
    """Jobs are running in the pool that this call cannot go beside."""

    code = ErrorCode.RESOURCE_BUSY


class PoolCrashed(VolaryError):  # noqa: N818
    """The pool's actor met an error of its own while this call waited; it was started anew."""

    code = ErrorCode.INTERNAL_ERROR


class TargetUnusable(VolaryError):  # noqa: N818
    """The pool's target is missing, not a directory, or may not be entered."""

    code = ErrorCode.SYSTEM_ERROR


class TargetNotEmpty(TargetUnusable):
    """The pool's target cannot be removed while something is in it."""


class SourceUnusable(VolaryError):  # noqa: N818
    """What the pool's storage comes from is missing, or is not what the definition says."""

    code = ErrorCode.OPERATION_FAILED


class SourceMissing(SourceUnusable):
    """What the pool's storage comes from is not there, or has nothing in it."""

    code = ErrorCode.INVALID_ARG


class SourceUnformatted(SourceUnusable):
    """What the pool's storage comes from has to be formatted first: build the pool."""

    code = ErrorCode.STORAGE_PROBE_FAILED


class SourceMismatched(SourceUnusable):
    """What the pool's storage comes from has another format than the definition says."""

    code = ErrorCode.OPERATION_INVALID


class SourceNotEmpty(SourceUnusable):
    """Building the pool would write over a file system, a partition table or the like."""

    code = ErrorCode.STORAGE_POOL_BUILT


class BackendMissing(VolaryError):  # noqa: N818
    """Pools of this type can be defined and described, but nothing here can start them."""

    code = ErrorCode.NO_SUPPORT


class VolumeNotFound(VolaryError, LookupError):  # noqa: N818
    """No volume has this name, path or key."""

    code = ErrorCode.NO_STORAGE_VOL


class VolumeExists(VolaryError):  # noqa: N818
    """The pool has a volume of this name, or one is being created."""

    code = ErrorCode.STORAGE_VOL_EXIST


class VolumeBusy(VolaryError):  # noqa: N818
    """Another operation holds the volume."""

    code = ErrorCode.RESOURCE_BUSY


class VolumeUnreadable(VolaryError):  # noqa: N818
    """The volume's image, or one that it is backed by, is not whole or cannot be looked at."""

    code = ErrorCode.OPERATION_INVALID


class NoSpace(VolaryError):  # noqa: N818
    """The pool has less free space than this needs, running jobs' promises included."""

    code = ErrorCode.SYSTEM_ERROR


class ReadOnly(VolaryError):  # noqa: N818
    """The file system below the pool takes no changes."""

    code = ErrorCode.SYSTEM_ERROR


class AccessDenied(VolaryError):  # noqa: N818
    """The operating system does not permit this to the process's user."""

    code = ErrorCode.ACCESS_DENIED


class StorageFailed(VolaryError):  # noqa: N818
    """The operating system refused a call; its own words are in the text."""

    code = ErrorCode.SYSTEM_ERROR


class TransferFailed(StorageFailed):
    """An upload or a download ended half way.

    done: the bytes from its offset on, holes among them, that it had come.
    """

    def __init__(self, text: str, done: int = 0) -> None:
        super().__init__(text)
        self.done = done


class TransferOutOfSpace(TransferFailed, NoSpace):
    """An upload or a download ended half way because there was no room for the rest."""


class ToolMissing(VolaryError):  # noqa: N818
    """A program that this needs is not installed; the text says which package has it."""

    code = ErrorCode.OPERATION_FAILED


class ToolFailed(VolaryError):  # noqa: N818
    """A program that did a part of the work failed; its own last words are in the text."""

    code = ErrorCode.OPERATION_FAILED


class Unsupported(VolaryError):  # noqa: N818
    """A format cannot do what was asked for; the text says which one, and what can."""

    code = ErrorCode.OPERATION_UNSUPPORTED


class NothingToFormat(Unsupported):
    """A flag says what to do with a source's content, and pools of this type have no source."""

    code = ErrorCode.OPERATION_INVALID


class NoDiscovery(Unsupported):
    """Nobody can list what pools of this type could be made of."""

    code = ErrorCode.NO_SUPPORT


class InternalFailure(VolaryError):  # noqa: N818
    """A defect of Volary; its cause is chained to it and in the log."""

    code = ErrorCode.INTERNAL_ERROR


class JobCancelled(VolaryError, CancelledError):  # noqa: N818
    """A blocking call's job was cancelled, by another thread or at the close of the connection."""

    code = ErrorCode.OPERATION_ABORTED


class JobNotFound(VolaryError, LookupError):  # noqa: N818
    """No running or remembered job has this id."""

    code = ErrorCode.INVALID_ARG


class StateDirectoryBusy(VolaryError):  # noqa: N818
    """Another engine owns the state directory; the text says which process."""

    code = ErrorCode.RESOURCE_BUSY


class ConnectionClosed(VolaryError):  # noqa: N818
    """The connection was closed, or belongs to the process that this one was forked from."""

    code = ErrorCode.INVALID_CONN


def from_os_error(error: OSError, doing: str) -> VolaryError:
    """Return the error of ours that says what the system refused.

    `doing` says what was tried and where, such as "creating volume 'a' in pool 'p'".
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return NoSpace(f"{doing}: {reason}; delete something, or use another pool")
        case errno.EROFS:
            return ReadOnly(f"{doing}: {reason}; mount it read-write, or use another pool")
        case errno.EACCES | errno.EPERM:
            return AccessDenied(
                f"{doing}: {reason}; give the user with id {os.geteuid()} the right to do so"
            )
        case errno.EOPNOTSUPP:
            return StorageFailed(
                f"{doing}: this file system cannot give a new file a name in one step without "
                "replacing another; use a file system that can, such as ext4, xfs or btrfs"
            )
        case errno.EFBIG:
            return StorageFailed(f"{doing}: {reason}: larger than this file system's largest file")
        case _:
            return StorageFailed(f"{doing}: {reason}")
