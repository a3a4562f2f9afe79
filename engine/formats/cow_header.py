"""The header of a copy-on-write image of User-mode Linux, version 2, which libvirt knows."""

from __future__ import annotations

from struct import Struct

from volary.engine.formats.probe import BadHeader, Probe, decode_name
from volary.engine.image_info import BackingFile, ImageInfo

_HEADER = Struct(">8x1024s4xQ")


def matches(probe: Probe) -> bool:
    """Say whether it is a cow of version 2."""
    return probe.head.startswith(b"OOOM\0\0\0\2")


def parse(probe: Probe) -> ImageInfo:
    """Read the header."""
    field, capacity = probe.unpack(_HEADER, 0)
    problem = backing = None
    name = field.partition(b"\0")[0]
    try:
        backing = BackingFile(decode_name(name, "the backing file's name")) if name else None
    except BadHeader as error:
        problem = str(error)
    return ImageInfo("cow", capacity, backing=backing, problem=problem)
