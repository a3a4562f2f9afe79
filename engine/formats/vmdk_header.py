"""The header of a vmdk image: of a sparse one, or the text that describes one.

The layouts are those of VMware's "Virtual Disk Format 5.0".
"""

from __future__ import annotations

import re
from struct import Struct

from volary.engine.formats.probe import BadHeader, Probe, decode_name
from volary.engine.image_info import BackingFile, ImageInfo

_COWD = Struct("<4sIIIIII")  # of ESX servers: version, flags, sectors, granularity, directory
_KDMV = Struct("<4sIIQQQQIQQQ4x1xH")

_SECTOR = 512
_EMBEDDED_AT = 512  # where QEMU and libvirt look for the text in a sparse image
_EMBEDDED_LENGTH = 20 * _SECTOR  # what QEMU makes and reads of it
_TEXT_WITHIN = 512  # bytes that QEMU looks for the version line in
_MOST_CLUSTER = 1 << 30

_VERSION_LINE = re.compile(rb"(?:#[^\n]*\n| *\r?\n)*version=[123]\r?\n")
_PARENT = b'parentFileNameHint="'
_TYPES = frozenset(
    (
        b"monolithicFlat",
        b"vmfs",
        b"vmfsSparse",
        b"seSparse",
        b"twoGbMaxExtentSparse",
        b"twoGbMaxExtentFlat",
    )
)
_TYPE = re.compile(rb'createType="([^"\n]*)"')
_EXTENT = re.compile(
    rb"^[ \t]*RW[ \t]+(\d{1,18})[ \t]+(FLAT|VMFS|SPARSE|VMFSSPARSE|SESPARSE)"
    rb'[ \t]+"([^"\r\n]{1,511})"',
    re.MULTILINE,
)


def matches(probe: Probe) -> bool:
    """Say whether it is a sparse vmdk."""
    return probe.head.startswith((b"KDMV", b"COWD"))


def matches_text(probe: Probe) -> bool:
    """Say whether it is a text that describes a vmdk, as QEMU does.

    Comments and empty lines are passed over up to the line that says the version.
    """
    return probe.head[:1] in (b"#", b"v", b" ") and bool(
        _VERSION_LINE.match(probe.head, 0, _TEXT_WITHIN)
    )


def parse(probe: Probe) -> ImageInfo:
    """Read the header."""
    magic = probe.head[:4]
    if magic == b"KDMV":
        return _parse_sparse(probe)
    if magic == b"COWD":
        return _parse_esx_sparse(probe)
    return _parse_text(probe.read(0, probe.size))


def _parse_esx_sparse(probe: Probe) -> ImageInfo:
    _magic, _version, _flags, sectors, granularity, _offset, _size = probe.unpack(_COWD, 0)
    cluster, problem = _cluster(granularity)
    backing, name_problem = _embedded_parent(probe)
    return ImageInfo(
        "vmdk",
        sectors * _SECTOR,
        cluster_size=cluster,
        backing=backing,
        problem=problem or name_problem,
    )


def _parse_sparse(probe: Probe) -> ImageInfo:
    (
        _magic,
        version,
        _flags,
        sectors,
        granularity,
        description_at,
        _description_length,
        entries,
        _redundant,
        _directory,
        data_at,
        _compression,
    ) = probe.unpack(_KDMV, 0)
    if sectors == 0 and description_at:
        # The extents are elsewhere, and a text in this file says where.
        return _parse_text(probe.read(description_at * _SECTOR, _EMBEDDED_LENGTH))
    cluster, cluster_problem = _cluster(granularity)
    problem = None
    if version > 3:  # noqa: PLR2004
        problem = f"version {version} of vmdk is not known; 1 to 3 are"
    elif not 1 <= entries <= 512:  # noqa: PLR2004
        problem = f"a grain table of {entries} entries is not one of 1 to 512"
    elif data_at * _SECTOR > -(-probe.size // _SECTOR) * _SECTOR:
        problem = f"the data at {data_at * _SECTOR} are beyond the file's end at {probe.size}"
    backing, name_problem = _embedded_parent(probe)
    return ImageInfo(
        "vmdk",
        sectors * _SECTOR,
        cluster_size=cluster,
        backing=backing,
        problem=problem or cluster_problem or name_problem,
    )


def _cluster(granularity: int) -> tuple[int | None, str | None]:
    """Return the size of a grain, as the format calls its clusters, or what is wrong with it."""
    size = granularity * _SECTOR
    if not _SECTOR <= size <= _MOST_CLUSTER:
        return None, f"a grain of {size} bytes is not one of 512 bytes to 1 GiB"
    return size, None


def _embedded_parent(probe: Probe) -> tuple[BackingFile | None, str | None]:
    try:
        return _parent(_text(probe.read(_EMBEDDED_AT, _EMBEDDED_LENGTH))), None
    except BadHeader as error:
        return None, str(error)


def _text(data: bytes) -> bytes:
    return data.partition(b"\0")[0]


def _parent(text: bytes) -> BackingFile | None:
    """Return the image below, which the format says to be a vmdk, too."""
    _before, found, rest = text.partition(_PARENT)
    if not found:
        return None
    name, quote, _rest = rest.partition(b'"')
    if not quote:
        raise BadHeader("the parent's name has no end")
    return BackingFile(decode_name(name, "the parent's name"), "vmdk") if name else None


def _parse_text(data: bytes) -> ImageInfo:
    text = _text(data)
    kind = _TYPE.search(text)
    if kind is None:
        raise BadHeader("the description says no createType")
    extents = _EXTENT.findall(text)
    problem = backing = data_file = None
    if kind[1] not in _TYPES:
        problem = f"images of type {decode_name(kind[1], 'the type')!r} are not known"
    elif not extents:
        problem = "the description names no extent that can be written to"
    try:
        backing = _parent(text)
        data_file = decode_name(extents[0][2], "the extent's name") if extents else None
    except BadHeader as error:
        problem = problem or str(error)
    return ImageInfo(
        "vmdk",
        sum(int(sectors) for sectors, _kind, _name in extents) * _SECTOR,
        backing=backing,
        data_file=data_file,
        problem=problem,
    )
