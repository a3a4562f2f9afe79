"""What pools of each type are described by.

The types, their formats and which parts of a source each one has are libvirt 9.0.0's, as its
capabilities document (virConnectGetStoragePoolCapabilities) and its documents show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_FILE_FORMATS = (
    *("none", "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi"),
    *("fat", "vhd", "ploop", "cow", "qcow", "qcow2", "qed", "vmdk"),
)

PARTITION_FORMATS: Final = (
    *("none", "linux", "fat16", "fat32", "linux-swap", "linux-lvm", "linux-raid", "extended"),
)
"""What a volume of a "disk" pool can be for."""


@dataclass(frozen=True, slots=True)
class PoolType:
    """What pools of one type are described by.

    source: which parts its source has, of "host", "device", "dir", "adapter", "name" and
        "initiator".
    has_target: whether its volumes are found below a path of this host.
    formats: what its source can be formatted as; empty where there is nothing to choose.
    default_format: the one of them that it has if none is given.
    added_formats: formats that are taken, too, though libvirt does not know them.
    volume_formats: the formats that its volumes can have; empty where they have none.
    default_volume_format: the one that they have if none is given.
    """

    name: str
    source: tuple[str, ...] = ()
    has_target: bool = True
    formats: tuple[str, ...] = ()
    default_format: str = ""
    added_formats: tuple[str, ...] = ()
    volume_formats: tuple[str, ...] = ()
    default_volume_format: str = ""


_TYPES = (
    PoolType("dir", volume_formats=_FILE_FORMATS, default_volume_format="raw"),
    PoolType(
        "fs",
        ("device",),
        formats=(
            *("auto", "ext2", "ext3", "ext4", "ufs", "iso9660", "udf", "gfs", "gfs2"),
            *("vfat", "hfs+", "xfs", "ocfs2", "vmfs"),
        ),
        default_format="auto",
        added_formats=("btrfs",),
        volume_formats=_FILE_FORMATS,
        default_volume_format="raw",
    ),
    PoolType(
        "netfs",
        ("host", "dir"),
        formats=("auto", "nfs", "glusterfs", "cifs"),
        default_format="auto",
        volume_formats=_FILE_FORMATS,
        default_volume_format="raw",
    ),
    PoolType("logical", ("device", "name"), formats=("unknown", "lvm2"), default_format="lvm2"),
    PoolType(
        "disk",
        ("device",),
        formats=("unknown", "dos", "dvh", "gpt", "mac", "bsd", "pc98", "sun", "lvm2"),
        default_format="unknown",
        volume_formats=PARTITION_FORMATS,
        default_volume_format="none",
    ),
    PoolType("iscsi", ("host", "device", "initiator")),
    PoolType("iscsi-direct", ("host", "device", "initiator"), has_target=False),
    PoolType("scsi", ("adapter",)),
    PoolType("mpath"),
    PoolType(
        "rbd",
        ("host", "name"),
        has_target=False,
        volume_formats=_FILE_FORMATS,
        default_volume_format="raw",
    ),
    PoolType("sheepdog", ("host", "name"), has_target=False),
    PoolType(
        "gluster",
        ("host", "name", "dir"),
        has_target=False,
        volume_formats=_FILE_FORMATS,
        default_volume_format="raw",
    ),
    PoolType("zfs", ("device", "name")),
    PoolType("vstorage", ("name",), volume_formats=_FILE_FORMATS, default_volume_format="raw"),
)

POOL_TYPES: Final[Mapping[str, PoolType]] = MappingProxyType(
    {type_.name: type_ for type_ in _TYPES}
)
"""Every pool type by name, in libvirt's order (`virStoragePoolType`)."""
