"""The trailer of a disk image of macOS (UDIF): its last 512 bytes.

Nothing at the start of the file tells it from a raw one, so that it is only looked for where the
file's name says so: the guest of a raw image can write a trailer, but not the name.
"""

from __future__ import annotations

from struct import Struct

from volary.engine.formats.probe import BadHeader, Probe
from volary.engine.image_info import ImageInfo

_TRAILER = Struct(">4s20xQ8xQQ160xQQ260xQ12x")
_MAGIC = b"koly"


def matches(probe: Probe) -> bool:
    """Say whether the name ends with .dmg and the trailer is there."""
    if not probe.name.endswith(".dmg"):
        return False
    at = probe.size - _TRAILER.size
    return at >= 0 and probe.read(at, len(_MAGIC)) == _MAGIC


def parse(probe: Probe) -> ImageInfo:
    """Read the trailer."""
    at = probe.size - _TRAILER.size
    if at < 0 or probe.read(at, len(_MAGIC)) != _MAGIC:
        raise BadHeader("the last 512 bytes are no UDIF trailer")
    _magic, data_at, resources_at, resources, list_at, list_length, sectors = probe.unpack(
        _TRAILER, at
    )
    problem = None
    if data_at > at or resources_at + resources > at or list_at + list_length > at:
        problem = "the data, the resources or the property list are beyond the trailer"
    elif not resources and not list_length:
        problem = "it has neither resources nor a property list, which say where the data are"
    return ImageInfo("dmg", sectors * 512, problem=problem)
