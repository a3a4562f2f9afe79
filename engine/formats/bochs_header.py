"""The header of a growing image of Bochs."""

from __future__ import annotations

from struct import Struct

from volary.engine.formats.probe import Probe
from volary.engine.image_info import ImageInfo

_START = b"Bochs Virtual HD Image\0"
_TYPE = b"Redolog\0"
_SUBTYPE = b"Growing\0"
_VERSION_1 = b"\0\0\1\0"
_VERSION_2 = b"\0\0\2\0"
_BODY = Struct("<IIIII")  # behind the version: header, catalogue, bitmap, extent
_CAPACITY = Struct("<Q")


def matches(probe: Probe) -> bool:
    """Say whether it is a growing image of a version that QEMU knows."""
    return (
        probe.head.startswith(_START)
        and probe.head.startswith(_TYPE, 32)
        and probe.head.startswith(_SUBTYPE, 48)
        and probe.head[64:68] in (_VERSION_1, _VERSION_2)
    )


def parse(probe: Probe) -> ImageInfo:
    """Read the header."""
    header, catalogue, _bitmap, extent, _reserved = probe.unpack(_BODY, 68)
    # Version 2 put a reserved word before the capacity.
    at = 84 if probe.head[64:68] == _VERSION_1 else 88
    (capacity,) = probe.unpack(_CAPACITY, at)
    problem = None
    if extent < 512 or extent > 0x800000 or extent & (extent - 1):  # noqa: PLR2004
        problem = f"an extent of {extent} bytes is no power of two from 512 bytes to 8 MiB"
    elif catalogue * extent < capacity:
        problem = f"a catalogue of {catalogue} extents is too small for {capacity} bytes"
    elif header + 4 * catalogue > probe.size:
        problem = f"the catalogue at {header} goes beyond the file's end at {probe.size}"
    return ImageInfo("bochs", capacity, problem=problem)
