"""The header of a qcow2 image, version 2 or 3.

What it says, and what of it is right, follows QEMU's docs/interop/qcow2.txt; where that leaves a
limit open, it is the one that QEMU itself has.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from volary.engine.formats.probe import BadHeader, Probe, decode_name
from volary.engine.image_info import BackingFile, ImageInfo

MAGIC = b"QFI\xfb"

_BASE = Struct(">4sIQIIQIIQQIIQ")  # the 72 bytes of version 2
_ADDED = Struct(">QQQII")  # what version 3 has behind them
_ADDED_END = 104
_EXTENSION = Struct(">II")  # type and length

_LAZY_REFCOUNTS = 1 << 0  # a compatible feature; those that follow are incompatible ones
_CORRUPT = 1 << 1
_DATA_FILE = 1 << 2
_COMPRESSION_TYPE = 1 << 3
_EXTENDED_L2 = 1 << 4
_KNOWN_FEATURES = (1 << 5) - 1

_END = 0x00000000  # types of header extensions
_BACKING_FORMAT = 0xE2792ACA
_DATA_FILE_NAME = 0x44415441
_CRYPTO_HEADER = 0x0537BE77

_LUKS = 2
_ENCRYPTIONS = {1: "aes", _LUKS: "luks"}

LONGEST_BACKING_NAME = 1023  # bytes; of a qcow, too
_LONGEST_FORMAT = 15  # bytes that QEMU takes for the name of a format

_MOST_REFCOUNT_TABLE = 8 << 20  # bytes; these limits are QEMU's
_MOST_L1_TABLE = 32 << 20
_MOST_SNAPSHOTS = 65536


class _Header(NamedTuple):
    magic: bytes
    version: int
    backing_offset: int
    backing_length: int
    cluster_bits: int
    capacity: int
    encryption: int
    l1_entries: int
    l1_offset: int
    refcount_table_offset: int
    refcount_table_clusters: int
    snapshots: int
    snapshots_offset: int
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    length: int = _BASE.size


def matches(probe: Probe) -> bool:
    """Say whether it is a qcow2, of whatever version, as QEMU does."""
    return probe.head.startswith(MAGIC) and int.from_bytes(probe.head[4:8]) > 1


def parse(probe: Probe) -> ImageInfo:
    """Read the header."""
    fields = probe.unpack(_BASE, 0)
    if fields[1] > 3:  # noqa: PLR2004 - the newest version
        raise BadHeader(f"version {fields[1]} of qcow2 is not known; 2 and 3 are")
    if fields[1] == 3:  # noqa: PLR2004
        fields += probe.unpack(_ADDED, _BASE.size)
    header = _Header(*fields)
    bits = header.cluster_bits
    compat = "0.10" if header.version == 2 else "1.1"  # noqa: PLR2004
    if not 9 <= bits <= 21:  # noqa: PLR2004
        wrong = f"a cluster of 2^{bits} bytes is not one of 512 bytes to 2 MiB"
        return ImageInfo("qcow2", header.capacity, compat=compat, problem=wrong)
    problem = next(_problems(header, probe), None)
    backing = data_file = None
    try:
        backing, data_file = _names(header, probe)
    except BadHeader as error:
        problem = problem or str(error)
    return ImageInfo(
        "qcow2",
        header.capacity,
        1 << bits,
        compat,
        bool(header.compatible & _LAZY_REFCOUNTS),
        bool(header.incompatible & _EXTENDED_L2),
        _ENCRYPTIONS.get(header.encryption),
        backing,
        data_file,
        problem,
    )


def _problems(header: _Header, probe: Probe) -> Iterator[str]:
    """Give what is wrong with the header, the first thing first."""
    cluster = 1 << header.cluster_bits
    if header.version > 2 and header.length < _ADDED_END:  # noqa: PLR2004
        yield f"a header of {header.length} bytes is less than the {_ADDED_END} of version 3"
    if header.length > cluster:
        yield f"a header of {header.length} bytes is more than a cluster of {cluster}"
    yield from _feature_problems(header, probe)
    yield from _table_problems(header)
    for offset, length, name in _tables(header):
        if offset & (cluster - 1):
            yield f"the {name} at {offset} does not begin with a cluster"
        if length and offset >= probe.size:
            yield f"the {name} at {offset} is beyond the file's end at {probe.size}"


def _feature_problems(header: _Header, probe: Probe) -> Iterator[str]:
    unknown = header.incompatible & ~_KNOWN_FEATURES
    if unknown:
        yield f"it has incompatible features that are not known: {unknown:#x}"
    if header.incompatible & _CORRUPT:
        yield "it is marked as corrupt; see what qemu-img check says of it"
    if header.incompatible & _EXTENDED_L2 and header.cluster_bits < 14:  # noqa: PLR2004
        yield "extended L2 entries ask for clusters of 16 KiB or more"
    if header.refcount_order > 6:  # noqa: PLR2004
        yield f"reference counts of 2^{header.refcount_order} bits are more than 64"
    if header.encryption > _LUKS:
        yield f"encryption method {header.encryption} is not known"
    compression = probe.head[_ADDED_END] if len(probe.head) > _ADDED_END < header.length else 0
    if compression > 1:
        yield f"compression method {compression} is not known"
    if bool(compression) != bool(header.incompatible & _COMPRESSION_TYPE):
        yield f"compression method {compression} and the feature bit for it contradict"


def _table_problems(header: _Header) -> Iterator[str]:
    if header.refcount_table_clusters == 0:
        yield "it has no reference count table"
    if header.refcount_table_clusters << header.cluster_bits > _MOST_REFCOUNT_TABLE:
        yield f"a reference count table of {header.refcount_table_clusters} clusters is too large"
    if header.l1_entries * 8 > _MOST_L1_TABLE:
        yield f"an L1 table of {header.l1_entries} entries is too large"
    # An L1 entry stands for a cluster of L2 entries, of 8 or 16 bytes each.
    entry_bits = 4 if header.incompatible & _EXTENDED_L2 else 3
    if header.l1_entries << (2 * header.cluster_bits - entry_bits) < header.capacity:
        yield f"{header.l1_entries} entries of an L1 table are too few for {header.capacity} bytes"
    if header.snapshots > _MOST_SNAPSHOTS:
        yield f"{header.snapshots} snapshots are more than {_MOST_SNAPSHOTS}"


def _tables(header: _Header) -> tuple[tuple[int, int, str], ...]:
    """Return the tables that the header names: where, of how many entries, and what."""
    return (
        (
            header.refcount_table_offset,
            header.refcount_table_clusters,
            "reference count table",
        ),
        (header.l1_offset, header.l1_entries, "L1 table"),
        (header.snapshots_offset, header.snapshots, "snapshot table"),
    )


def _names(header: _Header, probe: Probe) -> tuple[BackingFile | None, str | None]:
    """Return the backing file and the external data file."""
    found = _extensions(header, probe)
    backing = data_file = None
    if header.backing_offset and header.backing_length:
        if header.backing_offset + header.backing_length > 1 << header.cluster_bits:
            raise BadHeader(
                f"the backing file's name, {header.backing_length} bytes at "
                f"{header.backing_offset}, is not in the first cluster"
            )
        name = probe.read_name(
            header.backing_offset,
            header.backing_length,
            "the backing file's name",
            longest=LONGEST_BACKING_NAME,
        )
        said = decode_name(
            found.get(_BACKING_FORMAT, b""), "the name of the backing file's format"
        )
        backing = BackingFile(name, said or None)
    if header.incompatible & _DATA_FILE:
        data_file = decode_name(found.get(_DATA_FILE_NAME, b""), "the data file's name")
        if not data_file:
            raise BadHeader("its data are in another file, which it does not name")
    if header.encryption == _LUKS and _CRYPTO_HEADER not in found:
        raise BadHeader("it is encrypted with LUKS, and does not say where the LUKS header is")
    return backing, data_file


def _extensions(header: _Header, probe: Probe) -> dict[int, bytes]:
    """Return the header's extensions by their type."""
    found = {}
    head = probe.head
    # They end before the backing file's name, or with the cluster. No more of them is looked at
    # than libvirt looks at: those that are known are short, and come first.
    end = min(header.backing_offset or 1 << header.cluster_bits, len(head))
    offset = header.length
    while offset + 8 <= end:
        kind, length = _EXTENSION.unpack_from(head, offset)
        if kind == _END:
            break
        offset += 8
        if offset + length > end:
            raise BadHeader(
                f"a header extension of {length} bytes at {offset} goes beyond {end}, the end of "
                "what is taken for the header"
            )
        found[kind] = head[offset : offset + length]
        offset += (length + 7) & ~7
    longest = len(found.get(_BACKING_FORMAT, b""))
    if longest > _LONGEST_FORMAT:
        raise BadHeader(f"the backing file's format has a name of {longest} bytes")
    return found
