"""The header of a Virtual PC image: Microsoft's "Virtual Hard Disk Image Format Specification".

A dynamic image begins with a copy of its footer. A fixed one is raw data with the footer behind,
and for QEMU and libvirt it is raw unless somebody says what it is; a guest could write a footer.
"""

from __future__ import annotations

from struct import Struct

from volary.engine.formats.probe import BadHeader, Probe, decode_name
from volary.engine.image_info import BackingFile, ImageInfo

COOKIE = b"conectix"

_FOOTER = Struct(">8sIIQ4x4s8xQQHBBII16s")
_FOOTER_LENGTH = 512
_CHECKSUM_AT = 64
_DYNAMIC = Struct(">8s8xQIIII16s8x512s")
_DYNAMIC_LENGTH = 1024

_VERSION = 0x00010000
_DIFFERENCING = 4
_LARGEST_GEOMETRY = (65535, 16, 255)
_BY_GEOMETRY = frozenset((b"vpc ", b"qemu"))
"""The programs whose images are as large as their geometry says; with those of all others the
size of the footer counts. This is what QEMU found out."""


def matches(probe: Probe) -> bool:
    """Say whether it is a dynamic or differencing image."""
    return probe.head.startswith(COOKIE)


def parse(probe: Probe) -> ImageInfo:
    """Read the footer, from its copy at the start or, of a fixed image, from the end."""
    if probe.head.startswith(COOKIE):
        return _parse_dynamic(probe)
    at = probe.size - _FOOTER_LENGTH
    if at < 0 or not probe.read(at, 8).startswith(COOKIE):
        raise BadHeader("neither the first nor the last 512 bytes are the footer of a VHD")
    capacity, _kind, _dynamic_at, problem = _footer(probe, at)
    return ImageInfo("vpc", capacity, problem=problem)


def _footer(probe: Probe, at: int) -> tuple[int, int, int, str | None]:
    """Return capacity, type, where the dynamic header is, and what is wrong."""
    (
        _cookie,
        _features,
        version,
        dynamic_at,
        creator,
        _original,
        current,
        cylinders,
        heads,
        sectors,
        kind,
        checksum,
        _uuid,
    ) = probe.unpack(_FOOTER, at)
    if version != _VERSION:
        raise BadHeader(f"version {version >> 16}.{version & 0xFFFF} of VHD is not known; 1.0 is")
    geometry = (cylinders, heads, sectors)
    capacity = current
    if creator in _BY_GEOMETRY and geometry != _LARGEST_GEOMETRY:
        capacity = cylinders * heads * sectors * 512
    problem = None
    if checksum != _checksum(probe.read(at, _FOOTER_LENGTH), _CHECKSUM_AT):
        problem = "the footer's checksum is wrong"
    return capacity, kind, dynamic_at, problem


def _checksum(data: bytes, at: int) -> int:
    """Return the one's complement of the sum of all bytes but those of the checksum itself."""
    return ~(sum(data) - sum(data[at : at + 4])) & 0xFFFFFFFF


def _parse_dynamic(probe: Probe) -> ImageInfo:
    capacity, kind, dynamic_at, problem = _footer(probe, 0)
    try:
        cookie, _table_at, _version, entries, block, _sum, _uuid, parent = probe.unpack(
            _DYNAMIC, dynamic_at
        )
    except BadHeader as error:
        return ImageInfo("vpc", capacity, problem=problem or str(error))
    backing = None
    if cookie != b"cxsparse":
        problem = problem or f"there is no header of a dynamic image at {dynamic_at}"
    elif block < 512 or block & (block - 1):  # noqa: PLR2004
        problem = problem or f"a block of {block} bytes is no power of two of whole sectors"
    elif entries * block < capacity:
        problem = problem or f"{entries} blocks are too few for {capacity} bytes"
    elif kind == _DIFFERENCING:
        try:
            backing = _parent(parent)
        except BadHeader as error:
            problem = problem or str(error)
    return ImageInfo("vpc", capacity, cluster_size=block or None, backing=backing, problem=problem)


def _parent(field: bytes) -> BackingFile:
    name = field.decode("utf-16-be", "replace").partition("\0")[0]
    if not name:
        raise BadHeader("it depends on another image, which it does not name")
    return BackingFile(
        decode_name(name.encode("utf-8", "surrogatepass"), "the parent's name"), "vpc"
    )
