"""The header of a qcow image, the predecessor of qcow2."""

from __future__ import annotations

from struct import Struct

from volary.engine.formats.probe import BadHeader, Probe
from volary.engine.formats.qcow2_header import LONGEST_BACKING_NAME
from volary.engine.image_info import BackingFile, ImageInfo

_HEADER = Struct(">4sIQIIQBBHIQ")  # the first version of the structure that qcow2 has, too


def matches(probe: Probe) -> bool:
    """Say whether it is a qcow."""
    return probe.head.startswith(b"QFI\xfb\0\0\0\1")


def parse(probe: Probe) -> ImageInfo:
    """Read the header."""
    (
        _magic,
        _version,
        backing_offset,
        backing_length,
        _modified,
        capacity,
        cluster_bits,
        l2_bits,
        _padding,
        encryption,
        l1_offset,
    ) = probe.unpack(_HEADER, 0)
    if not 9 <= cluster_bits <= 16:  # noqa: PLR2004
        wrong = f"a cluster of 2^{cluster_bits} bytes is not one of 512 bytes to 64 KiB"
        return ImageInfo("qcow", capacity, problem=wrong)
    problem = None
    if not 6 <= l2_bits <= 13:  # noqa: PLR2004
        problem = f"an L2 table of 2^{l2_bits} entries is not one of 64 to 8192"
    elif encryption > 1:
        problem = f"encryption method {encryption} is not known"
    elif l1_offset >= probe.size:
        problem = f"the L1 table at {l1_offset} is beyond the file's end at {probe.size}"
    backing = None
    if backing_offset and backing_length:
        try:
            name = probe.read_name(
                backing_offset,
                backing_length,
                "the backing file's name",
                longest=LONGEST_BACKING_NAME,
            )
            backing = BackingFile(name)
        except BadHeader as error:
            problem = problem or str(error)
    return ImageInfo(
        "qcow",
        capacity,
        cluster_size=1 << cluster_bits,
        encryption="aes" if encryption == 1 else None,
        backing=backing,
        problem=problem,
    )
