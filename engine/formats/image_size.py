"""How large the file of an image can become: its data, and the tables that say where that is."""

from __future__ import annotations

from typing import Final

from volary.engine.formats.qcow2_layout import layout_of, whole_blocks
from volary.engine.volume_format import DEFAULT_CLUSTER_SIZE, QCOW2_LARGEST_L1
from volary.engine.volume_spec import VolumeSpec

_UNITS: Final = {"vdi": 1 << 20, "vpc": 2 << 20}
"""Bytes of a block of the formats that have larger ones than 64 KiB."""

_LARGEST_UNIT = 2 << 20
"""Bytes of the largest cluster that a qcow2 can have."""

_LUKS_HEADER = 2 << 20
"""Bytes of a LUKS header with its eight key slots, rounded up."""

_VMDK_REACH = 512 * 65536
"""Bytes that a grain table of a vmdk maps: 512 grains of 64 KiB."""

_HEADERS = 1 << 16
"""Bytes of the headers, footers and descriptors of the formats that have no clusters, more than
any has; and of the file system's own blocks that are not whole."""


def measured_unit(spec: VolumeSpec, capacity: int) -> int | None:
    """Return the bytes that a copy of `capacity` bytes allocates at once, or more where no qcow2
    of such clusters holds it; None when none does at all.
    """
    for unit in (_unit_of(spec), _LARGEST_UNIT):
        if capacity <= QCOW2_LARGEST_L1 // 8 * (unit // 8) * unit:
            return unit
    return None


def largest_size(spec: VolumeSpec, data: int) -> int:
    """Return the bytes on disk of the image `spec`, at the most.

    spec: with its capacity.
    data: bytes of the allocation units (`measured_unit`) that have data in them.
    """
    capacity = spec.capacity or 0
    size = data + _tables(spec, capacity, data)
    if spec.format == "luks":
        size = whole_blocks(capacity)  # also the zeros are written, enciphered
    elif spec.format == "qcow2" and spec.preallocation != "off":
        # The tables of the whole, and what they point to: "metadata" leaves that for the data.
        layout = layout_of(spec)
        size = layout.data_offset + data if spec.preallocation == "metadata" else layout.end
    elif spec.format == "raw":
        size = min(whole_blocks(capacity), spec.allocation + data)
    if spec.encryption is not None:
        size += _LUKS_HEADER
    # 12 bytes of ext4's for each extent, which are in blocks of their own.
    return size + (size >> 12) + _HEADERS


def _tables(spec: VolumeSpec, capacity: int, data: int) -> int:
    """Return the bytes of the tables: of each kind all, or one for each unit of data."""
    unit = _unit_of(spec)
    units = data // unit
    match spec.format:
        case "qcow2":
            return _qcow2_tables(spec, unit, capacity, units)
        case "qed":  # each table has four clusters
            return unit * (5 + 4 * min(units, _parts(capacity, 4 * unit // 8 * unit)))
        case "vmdk":  # all twice: grain directories, and tables of 2 KiB
            count = _parts(capacity, _VMDK_REACH)
            return 2 * (whole_blocks(4 * count) + min(whole_blocks(2048 * count), 4096 * units))
        case "vdi":
            return whole_blocks(4 * _parts(capacity, unit))
        case "vpc":  # and 512 bytes for each block say which of its sectors are in use
            return whole_blocks(4 * _parts(capacity, unit) + 512 * units)
        case _:
            return 0


def _qcow2_tables(spec: VolumeSpec, cluster: int, capacity: int, units: int) -> int:
    reach = cluster // (16 if spec.extended_l2 else 8) * cluster
    l2_tables = l2_in_use = _parts(capacity, reach)
    if spec.encryption is None:  # or else the tables are told of all zeros, too
        l2_in_use = min(units, l2_tables)
    clusters = 1 + _parts(8 * l2_tables, cluster) + l2_in_use
    # Reference counts of 2 bytes. QEMU makes their table anew, by a half larger, when it is full,
    # so that the old ones are a geometric series; each comes with blocks that count itself.
    blocks = 2 + _parts(2 * (clusters + units), cluster - 2)
    tables = 3 * (1 + _parts(8 * blocks, cluster))
    return cluster * (clusters + blocks + tables + _parts(2 * tables, cluster))


def _parts(size: int, part: int) -> int:
    return -(-size // part)


def _unit_of(spec: VolumeSpec) -> int:
    return spec.cluster_size or _UNITS.get(spec.format, DEFAULT_CLUSTER_SIZE)
