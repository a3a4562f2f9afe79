"""The header of a VirtualBox image (VDI 1.1)."""

from __future__ import annotations

from struct import Struct

from volary.engine.formats.probe import BadHeader, Probe
from volary.engine.image_info import ImageInfo

MAGIC_AT = 64  # behind a text for people
MAGIC = b"\x7f\x10\xda\xbe"

_HEADER = Struct("<4sIIII256xIIIIII4xQIIII16s16s16s16s")
_BLOCK = 1 << 20  # the only size that QEMU takes


def matches(probe: Probe) -> bool:
    """Say whether it is a VDI."""
    return probe.head.startswith(MAGIC, MAGIC_AT)


def parse(probe: Probe) -> ImageInfo:
    """Read the header."""
    (
        _magic,
        version,
        _length,
        _kind,
        _flags,
        map_at,
        data_at,
        _cylinders,
        _heads,
        _sectors,
        sector,
        capacity,
        block,
        _extra,
        blocks,
        _allocated,
        _uuid,
        _snapshot,
        link,
        parent,
    ) = probe.unpack(_HEADER, MAGIC_AT)
    if version != 0x00010001:  # noqa: PLR2004
        raise BadHeader(f"version {version >> 16}.{version & 0xFFFF} of VDI is not known; 1.1 is")
    problem = None
    if block != _BLOCK:
        problem = f"a block of {block} bytes is not one of 1 MiB"
    elif capacity > blocks * block:
        problem = f"{blocks} blocks are too few for {capacity} bytes"
    elif sector != 512 or map_at % 512 or data_at % 512:  # noqa: PLR2004
        problem = "the block map or the data do not begin with a sector of 512 bytes"
    elif blocks and map_at >= probe.size:
        problem = f"the block map at {map_at} is beyond the file's end at {probe.size}"
    elif any(link) or any(parent):
        problem = "it depends on another image, which it knows only by a UUID"
    return ImageInfo("vdi", capacity, cluster_size=block or None, problem=problem)
