"""The header of a Hyper-V image, after Microsoft's MS-VHDX: a region table names the region of the
metadata, and a table in there the items.
"""

from __future__ import annotations

from struct import Struct
from uuid import UUID

from volary.engine.formats.probe import BadHeader, Probe
from volary.engine.image_info import ImageInfo

_REGION_TABLE_AT = 192 << 10
_REGIONS = Struct("<4s4xI4x")
_REGION = Struct("<16sQI4x")
_METADATA = Struct("<8s2xH20x")
_ITEM = Struct("<16sII8x")
_PARAMETERS = Struct("<II")
_SIZE = Struct("<Q")
_MOST_ENTRIES = 2047

_METADATA_REGION = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_FILE_PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_VIRTUAL_DISK_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le

_HAS_PARENT = 1 << 1
_MOST_CAPACITY = 64 << 40


def matches(probe: Probe) -> bool:
    """Say whether it is a VHDX."""
    return probe.head.startswith(b"vhdxfile")


def parse(probe: Probe) -> ImageInfo:
    """Read the header."""
    signature, count = probe.unpack(_REGIONS, _REGION_TABLE_AT)
    if signature != b"regi":
        raise BadHeader(f"there is no region table at {_REGION_TABLE_AT}")
    regions = _table(probe, _REGION_TABLE_AT + _REGIONS.size, count, _REGION)
    metadata_at = _find(regions, _METADATA_REGION, "region of metadata")
    signature, count = probe.unpack(_METADATA, metadata_at)
    if signature != b"metadata":
        raise BadHeader(f"there is no table of metadata at {metadata_at}")
    items = _table(probe, metadata_at + _METADATA.size, count, _ITEM)
    parameters_at = metadata_at + _find(items, _FILE_PARAMETERS, "item of file parameters")
    size_at = metadata_at + _find(items, _VIRTUAL_DISK_SIZE, "item of the disk's size")
    block, flags = probe.unpack(_PARAMETERS, parameters_at)
    (capacity,) = probe.unpack(_SIZE, size_at)
    problem = None
    if not 1 << 20 <= block <= 256 << 20 or block & (block - 1):
        problem = f"a block of {block} bytes is no power of two from 1 MiB to 256 MiB"
    elif capacity > _MOST_CAPACITY:
        problem = f"a capacity of {capacity} bytes is more than 64 TiB"
    elif flags & _HAS_PARENT:
        problem = "it is a differencing image, which QEMU cannot open"
    return ImageInfo("vhdx", capacity, cluster_size=block or None, problem=problem)


def _table(probe: Probe, offset: int, count: int, entry: Struct) -> dict[bytes, int]:
    """Return where that is which the entries name: an offset for each GUID."""
    if count > _MOST_ENTRIES:
        raise BadHeader(f"a table of {count} entries is longer than {_MOST_ENTRIES}")
    data = probe.read(offset, count * entry.size)
    if len(data) < count * entry.size:
        raise BadHeader(f"the file ends within the table at {offset}")
    return {guid: where for guid, where, _length in entry.iter_unpack(data)}


def _find(table: dict[bytes, int], guid: bytes, what: str) -> int:
    where = table.get(guid)
    if where is None:
        raise BadHeader(f"it has no {what}")
    return where
