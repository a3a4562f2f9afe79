"""The header of a compressed loop image, which begins with a shell script that mounts it."""

from __future__ import annotations

from struct import Struct

from volary.engine.formats.probe import Probe
from volary.engine.image_info import ImageInfo

MAGIC = b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"
_SIZES_AT = 128
_SIZES = Struct(">II")
_MOST_BLOCK = 64 << 20


def matches(probe: Probe) -> bool:
    """Say whether it is a cloop."""
    return probe.head.startswith(MAGIC)


def parse(probe: Probe) -> ImageInfo:
    """Read the header."""
    block, blocks = probe.unpack(_SIZES, _SIZES_AT)
    problem = None
    if not 512 <= block <= _MOST_BLOCK or block % 512:  # noqa: PLR2004
        problem = f"a block of {block} bytes is not one of whole sectors, 64 MiB at the most"
    elif _SIZES_AT + _SIZES.size + 8 * (blocks + 1) > probe.size:
        problem = f"the table of {blocks} blocks goes beyond the file's end at {probe.size}"
    return ImageInfo("cloop", block * blocks, cluster_size=block or None, problem=problem)
