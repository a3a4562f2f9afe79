"""Where everything lies in a qcow2 that is being created: arithmetic, and no file.

The clusters follow each other in this order, each kind in one piece:

    header | refcount table | refcount blocks | L1 table | L2 tables | data

The last two are there from the start only in a preallocated image. The specification is
docs/interop/qcow2.txt of QEMU.
"""

from __future__ import annotations

from dataclasses import dataclass

from volary.engine.errors import InvalidSpec
from volary.engine.volume_format import DEFAULT_CLUSTER_SIZE
from volary.engine.volume_spec import VolumeSpec

SECTOR = 512
"""Bytes that a capacity is a multiple of."""

POINTER = 8
"""Bytes of an entry of the refcount table and of the L1 table."""

REFCOUNT = 2
"""Bytes of a reference count: QEMU's default, and all that version 2 has."""

_LONGEST_REFCOUNT_TABLE = 8 << 20
"""Bytes of the longest refcount table that QEMU opens (QCOW_MAX_REFTABLE_SIZE)."""

_LARGEST_OFFSET = 1 << 56
"""Bytes that the offset in an L2 table's entry reaches: its bits 9 to 55."""

_BLOCK = 4096
"""Bytes of a block of ext4, xfs and btrfs, unless somebody chose another one."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies; counts in clusters, unless they say otherwise.

    capacity: bytes that the guest sees, a multiple of 512.
    l2_entry: bytes of an entry of an L2 table: 8, or 16 when they are extended.
    l1_entries: entries of the L1 table.
    l2_tables, data: of a preallocated image; else 0.
    """

    cluster_size: int
    capacity: int
    l2_entry: int
    refcount_table: int
    refcount_blocks: int
    l1_entries: int
    l2_tables: int
    data: int

    @property
    def clusters(self) -> int:
        """All clusters of the file."""
        l1 = -(-self.l1_entries * POINTER // self.cluster_size)
        return 1 + self.refcount_table + self.refcount_blocks + l1 + self.l2_tables + self.data

    @property
    def refcount_table_offset(self) -> int:
        """Where the refcount table begins, in bytes."""
        return self.cluster_size

    @property
    def refcount_blocks_offset(self) -> int:
        """Where the refcount blocks begin, in bytes."""
        return (1 + self.refcount_table) * self.cluster_size

    @property
    def l1_offset(self) -> int:
        """Where the L1 table begins, in bytes."""
        return self.refcount_blocks_offset + self.refcount_blocks * self.cluster_size

    @property
    def l2_offset(self) -> int:
        """Where the L2 tables begin, in bytes."""
        return self.data_offset - self.l2_tables * self.cluster_size

    @property
    def data_offset(self) -> int:
        """Where the data begins, and the metadata ends, in bytes."""
        return self.end - self.data * self.cluster_size

    @property
    def end(self) -> int:
        """Bytes of the file."""
        return self.clusters * self.cluster_size

    @property
    def tables(self) -> tuple[int, int, int, int]:
        """Bytes of the entries of all refcount tables and blocks, L1 and L2 tables that are there
        from the start: an L1 table that points to nothing is a hole.
        """
        return (
            self.refcount_blocks * POINTER,
            self.clusters * REFCOUNT,
            self.l1_entries * POINTER if self.l2_tables else 0,
            self.data * self.l2_entry,
        )

    @property
    def on_disk(self) -> int:
        """Bytes that the metadata takes from a file system, its own for it included."""
        if self.cluster_size < _BLOCK:
            size = whole_blocks(self.data_offset if self.l2_tables else self.l1_offset)
        else:
            size = _BLOCK + sum(map(whole_blocks, self.tables))
        # An inode of ext4 holds four extents; from the fifth on they take a block.
        return size + _BLOCK if self.l2_tables else size


def whole_blocks(size: int) -> int:
    """Return the bytes of the file system's blocks that hold so many bytes."""
    return -(-size // _BLOCK) * _BLOCK


def layout_of(spec: VolumeSpec) -> Layout:
    """Return the layout of the image that `spec` asks for; its capacity must be known.

    Raises `InvalidSpec` when its tables could not reach what it preallocates.
    """
    if spec.capacity is None:
        raise InvalidSpec(
            f"volume {spec.name!r}: no capacity and nothing to take it from; give it"
        )
    cluster_size = spec.cluster_size or DEFAULT_CLUSTER_SIZE
    l2_entry = 16 if spec.extended_l2 else 8
    capacity = -(-spec.capacity // SECTOR) * SECTOR
    data = -(-capacity // cluster_size)
    l2_tables = -(-data * l2_entry // cluster_size)
    layout = _with_refcounts(
        cluster_size,
        capacity,
        l2_entry,
        l1_entries=l2_tables,
        preallocated=(0, 0) if spec.preallocation == "off" else (l2_tables, data),
    )
    longest = min(
        _LONGEST_REFCOUNT_TABLE // POINTER * (cluster_size // REFCOUNT) * cluster_size,
        _LARGEST_OFFSET,
    )
    if layout.end > longest:
        raise InvalidSpec(
            f"volume {spec.name!r}: preallocated, it is a file of {layout.end} bytes, and the "
            f"tables of a qcow2 with clusters of {cluster_size} bytes reach no further than "
            f"{longest}; choose larger clusters, a smaller capacity or no preallocation"
        )
    return layout


def _with_refcounts(
    cluster_size: int,
    capacity: int,
    l2_entry: int,
    *,
    l1_entries: int,
    preallocated: tuple[int, int],
) -> Layout:
    """Return the smallest layout whose reference counts count all clusters, their own as well."""
    table = blocks = 1
    while True:
        layout = Layout(cluster_size, capacity, l2_entry, table, blocks, l1_entries, *preallocated)
        needed_blocks = -(-layout.clusters * REFCOUNT // cluster_size)
        needed_table = -(-needed_blocks * POINTER // cluster_size)
        if (needed_table, needed_blocks) == (table, blocks):
            return layout
        table, blocks = needed_table, needed_blocks
