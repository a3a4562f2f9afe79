"""The header of a qed image (QEMU's docs/interop/qed_spec.txt)."""

from __future__ import annotations

from struct import Struct

from volary.engine.formats.probe import BadHeader, Probe
from volary.engine.image_info import BackingFile, ImageInfo

_HEADER = Struct("<4sIIIQQQQQII")

_BACKING_FILE = 1 << 0
_BACKING_IS_RAW = 1 << 2
_KNOWN_FEATURES = (1 << 3) - 1


def matches(probe: Probe) -> bool:
    """Say whether it is a qed."""
    return probe.head.startswith(b"QED\0")


def parse(probe: Probe) -> ImageInfo:
    """Read the header."""
    (
        _magic,
        cluster,
        table,
        header,
        features,
        _compatible,
        _autoclear,
        l1_offset,
        capacity,
        backing_offset,
        backing_length,
    ) = probe.unpack(_HEADER, 0)
    if not 4 << 10 <= cluster <= 64 << 20 or cluster & (cluster - 1):
        wrong = f"a cluster of {cluster} bytes is no power of two from 4 KiB to 64 MiB"
        return ImageInfo("qed", capacity, problem=wrong)
    entries = table * cluster // 8
    problem = None
    if not 1 <= table <= 16 or table & (table - 1):  # noqa: PLR2004
        problem = f"a table of {table} clusters is no power of two from 1 to 16"
    elif features & ~_KNOWN_FEATURES:
        problem = f"it has features that are not known: {features & ~_KNOWN_FEATURES:#x}"
    elif capacity % 512:
        problem = f"a capacity of {capacity} bytes is not one of whole sectors"
    elif capacity > entries * entries * cluster:
        problem = f"a capacity of {capacity} bytes is more than its tables can hold"
    elif l1_offset % cluster or not header * cluster <= l1_offset < probe.size:
        problem = f"the L1 table at {l1_offset} is not in a cluster behind the header"
    backing = None
    if features & _BACKING_FILE and backing_length:
        if backing_offset + backing_length > header * cluster:
            outside = f"the backing file's name at {backing_offset} is not in the header"
            problem = problem or outside
        try:
            name = probe.read_name(backing_offset, backing_length, "the backing file's name")
            backing = BackingFile(name, "raw" if features & _BACKING_IS_RAW else None)
        except BadHeader as error:
            problem = problem or str(error)
    return ImageInfo("qed", capacity, cluster_size=cluster, backing=backing, problem=problem)
