"""Flags of the public calls, with libvirt's numeric values."""

from __future__ import annotations

import enum
from typing import Self, overload

from volary.engine.errors import InvalidSpec


class _Flags(enum.IntFlag, boundary=enum.KEEP):
    """An IntFlag that becomes an `Async` when `ASYNC` is added, so that a type checker knows.

    Python 3.11 gives each flag class IntFlag's own operators unless its body has them: hence the
    line in each class below.
    """

    # What is unsafe here is meant so: an Async, though an int, makes an Async.
    @overload  # type: ignore[override]
    def __or__(self, other: Async) -> Async: ...  # type: ignore[overload-overlap]
    @overload
    def __or__(self, other: int) -> Self: ...
    def __or__(self, other: int) -> Async | Self:
        if isinstance(other, Async):
            return Async(int(self) | int(other))
        return super().__or__(other)


class Async(enum.IntFlag, boundary=enum.KEEP):
    """`ASYNC` alone or with other flags: the call returns its `Job` at once."""

    ASYNC = 1 << 30


class VolumeCreate(_Flags):
    """Flags of `create_volume` and `clone_volume` (virStorageVolCreateFlags)."""

    __or__ = _Flags.__or__
    NONE = 0
    PREALLOCATE_METADATA = 1
    REFLINK = 2
    VALIDATE = 4


class VolumeDelete(_Flags):
    """Flags of `Volume.delete` (virStorageVolDeleteFlags)."""

    __or__ = _Flags.__or__
    NONE = 0
    ZEROED = 1


class VolumeResize(_Flags):
    """Flags of `Volume.resize` (virStorageVolResizeFlags)."""

    __or__ = _Flags.__or__
    NONE = 0
    ALLOCATE = 1
    DELTA = 2
    SHRINK = 4


class VolumeWipe(_Flags):
    """Flags of `Volume.wipe`, which has none of its own but `ASYNC`."""

    __or__ = _Flags.__or__
    NONE = 0


class VolumeUpload(_Flags):
    """Flags of `Volume.upload`, which has none of its own but `ASYNC`."""

    __or__ = _Flags.__or__
    NONE = 0


class VolumeDownload(_Flags):
    """Flags of `Volume.download`, which has none of its own but `ASYNC`."""

    __or__ = _Flags.__or__
    NONE = 0


class PoolDefine(_Flags):
    """Flags of `define_pool` (virStoragePoolDefineFlags)."""

    __or__ = _Flags.__or__
    NONE = 0
    VALIDATE = 1


class PoolStart(_Flags):
    """Flags of `create_pool` and `Pool.start` (virStoragePoolCreateFlags)."""

    __or__ = _Flags.__or__
    NONE = 0
    BUILD = 1
    BUILD_OVERWRITE = 2
    BUILD_NO_OVERWRITE = 4


class PoolBuild(_Flags):
    """Flags of `Pool.build` (virStoragePoolBuildFlags)."""

    __or__ = _Flags.__or__
    NONE = 0
    REPAIR = 1
    RESIZE = 2
    NO_OVERWRITE = 4
    OVERWRITE = 8


class PoolDelete(_Flags):
    """Flags of `Pool.delete` (virStoragePoolDeleteFlags)."""

    __or__ = _Flags.__or__
    NONE = 0
    ZEROED = 1


class PoolXml(_Flags):
    """Flags of `Pool.xml` (virStorageXMLFlags)."""

    __or__ = _Flags.__or__
    NONE = 0
    INACTIVE = 1


class PoolList(_Flags):
    """Flags of `Connection.pools` (virConnectListAllStoragePoolsFlags): a pool is listed that has
    one of each group from which any is given.
    """

    __or__ = _Flags.__or__
    NONE = 0
    INACTIVE = 1
    ACTIVE = 2
    PERSISTENT = 4
    TRANSIENT = 8
    AUTOSTART = 16
    NO_AUTOSTART = 32
    DIR = 1 << 6
    FS = 1 << 7
    NETFS = 1 << 8
    LOGICAL = 1 << 9
    DISK = 1 << 10
    ISCSI = 1 << 11
    SCSI = 1 << 12
    MPATH = 1 << 13
    RBD = 1 << 14
    SHEEPDOG = 1 << 15
    GLUSTER = 1 << 16
    ZFS = 1 << 17
    VSTORAGE = 1 << 18
    ISCSI_DIRECT = 1 << 19


class PoolFlags(_Flags):
    """Flags of the pool calls that have none of their own but `ASYNC`."""

    __or__ = _Flags.__or__
    NONE = 0


ASYNC = Async.ASYNC
"""Return a `Job` at once rather than block; goes with the flags of every long call."""


def check_flags(flags: int, known: type[_Flags], call: str) -> None:
    """Raise `InvalidSpec` when `flags` has bits that neither `known` nor `ASYNC` has."""
    if not isinstance(flags, int):
        raise InvalidSpec(
            f"{call}: flags {flags!r} are none; give those of volary.{known.__name__}, "
            "volary.ASYNC, or both with |"
        )
    unknown = int(flags) & ~int(ASYNC)
    if unknown:
        for flag in known:
            unknown &= ~int(flag)
    if unknown:
        raise InvalidSpec(f"{call}: unknown flags {unknown:#x}")


def check_one_of(flags: int, one: _Flags, other: _Flags, call: str) -> None:
    """Raise `InvalidSpec` when `flags` has two that contradict each other."""
    if flags & one and flags & other:
        raise InvalidSpec(f"{call}: {one.name} and {other.name} contradict each other; give one")


def check_start(flags: int, call: str) -> PoolStart:
    """Return the flags of a call that starts a pool; raises `InvalidSpec`."""
    check_flags(flags, PoolStart, call)
    check_one_of(flags, PoolStart.BUILD_OVERWRITE, PoolStart.BUILD_NO_OVERWRITE, call)
    return PoolStart(flags & ~ASYNC)
