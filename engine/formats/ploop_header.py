"""The header of an image of Parallels, which libvirt calls ploop and QEMU parallels."""

from __future__ import annotations

from struct import Struct

from volary.engine.formats.probe import BadHeader, Probe
from volary.engine.image_info import ImageInfo

_HEADER = Struct("<16sI8xIIQ")
_OLD = b"WithoutFreeSpace"
_EXTENDED = b"WithouFreSpacExt"
_VERSION = 2
_SECTOR = 512
_MOST_CLUSTER = (2**31 - 1) // 513  # sectors, QEMU's bound


def matches(probe: Probe) -> bool:
    """Say whether it is a ploop image."""
    return probe.head.startswith((_OLD, _EXTENDED))


def parse(probe: Probe) -> ImageInfo:
    """Read the header."""
    magic, version, cluster, entries, sectors = probe.unpack(_HEADER, 0)
    if version != _VERSION:
        raise BadHeader(f"version {version} of ploop is not known; 2 is")
    if magic == _OLD:
        sectors &= 0xFFFFFFFF
    problem = None
    if not 1 <= cluster <= _MOST_CLUSTER:
        problem = f"a cluster of {cluster} sectors is not one of 1 to {_MOST_CLUSTER}"
    elif entries * cluster < sectors:
        problem = f"{entries} clusters are too few for {sectors} sectors"
    elif _HEADER.size + 4 * entries > probe.size:
        problem = f"the table of {entries} clusters goes beyond the file's end at {probe.size}"
    return ImageInfo(
        "ploop", sectors * _SECTOR, cluster_size=cluster * _SECTOR or None, problem=problem
    )
