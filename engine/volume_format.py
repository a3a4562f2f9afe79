"""What a volume of each format can be, and what it cannot.

The limits are those that QEMU 7.2 has at a creation or at a later opening, whichever is narrower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from volary.engine.pool_type import PARTITION_FORMATS

DEFAULT_CLUSTER_SIZE: Final = 65536
"""Bytes of a cluster of qcow2 and qed where none is given, as QEMU has it."""

QCOW2_LARGEST_L1: Final = 32 << 20
"""Bytes of the longest L1 table that QEMU opens (QCOW_MAX_L1_SIZE)."""


QCOW2_HEADERS: Final = {"0.10": (2, 72), "1.1": (3, 112)}
"""Version and bytes of a qcow2's header by compat; QEMU writes them so."""


@dataclass(frozen=True, slots=True)
class VolumeFormat:
    """What volumes of one format can be.

    preallocation: the ways that it can be on disk from the start.
    cluster_sizes: smallest and largest, in bytes; None where it has no clusters to choose.
    has_backing: whether it can be an overlay.
    encryption: whether it can be encrypted; a format that must be is `always_encrypted`.
    largest: bytes of the largest capacity for a cluster size.
    """

    preallocation: tuple[str, ...] = ("off",)
    cluster_sizes: tuple[int, int] | None = None
    has_backing: bool = False
    encryption: bool = False
    always_encrypted: bool = False
    largest: Callable[[int], int] | None = None


def qcow2_longest_name(cluster_size: int, *, compat: str | None, format_name: str) -> int:
    """Return how many bytes a qcow2's header has for the name of a backing file.

    They share the first cluster with the header, the extension that holds the format's name
    (type and length, content padded to 8 bytes) and the one that ends the extensions.
    """
    _, header = QCOW2_HEADERS[compat or "1.1"]
    return min(1023, cluster_size - header - 8 - (-(-len(format_name) // 8) * 8) - 8)


IMAGE_FORMATS: Final = {
    "raw": VolumeFormat(preallocation=("off", "falloc", "full")),
    "qcow2": VolumeFormat(
        preallocation=("off", "metadata", "falloc", "full"),
        cluster_sizes=(512, 2 << 20),
        has_backing=True,
        encryption=True,
        # An L2 table is a cluster of entries of 8 bytes; extended ones, of 16, map half as much.
        largest=lambda cluster_size: QCOW2_LARGEST_L1 // 8 * (cluster_size // 8) * cluster_size,
    ),
    # QEMU gives QED's tables four clusters, and cannot count what clusters above 2 MiB would hold.
    "qed": VolumeFormat(
        cluster_sizes=(4096, 2 << 20),
        has_backing=True,
        largest=lambda cluster_size: (4 * cluster_size // 8) ** 2 * cluster_size,
    ),
    # 512 Mi grain tables of 32 MiB each (QEMU: "L1 size too big").
    "vmdk": VolumeFormat(has_backing=True, largest=lambda _: 1 << 54),
    # As QEMU tells it: 0x1fffff8000000.
    "vdi": VolumeFormat(largest=lambda _: (1 << 49) - (1 << 27)),
    "vpc": VolumeFormat(largest=lambda _: 2040 << 30),
    "luks": VolumeFormat(
        preallocation=("off", "falloc", "full"), encryption=True, always_encrypted=True
    ),
}
"""Those of an image, which is a file or a device."""

VOLUME_FORMATS: Final = {
    **IMAGE_FORMATS,
    "dir": VolumeFormat(),
    # What a partition is for, of which nothing in it tells.
    **{name: VolumeFormat(preallocation=("off", "falloc", "full")) for name in PARTITION_FORMATS},
}

BACKING_FORMATS: Final = frozenset(
    {
        *IMAGE_FORMATS,
        *("bochs", "cloop", "dmg", "parallels", "qcow", "vhdx"),
    }
)
"""Formats that a backing file can have, as QEMU names them."""
