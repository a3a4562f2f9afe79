"""An ISO 9660 file system, by the identifier of its first volume descriptor (ECMA-119, 8)."""

from __future__ import annotations

from volary.engine.formats.probe import BadHeader, Probe
from volary.engine.image_info import ImageInfo

IDENTIFIER_AT = 32769
IDENTIFIER = b"CD001"


def matches(probe: Probe) -> bool:
    """Say whether it is an ISO."""
    return probe.head.startswith(IDENTIFIER, IDENTIFIER_AT)


def parse(probe: Probe) -> ImageInfo:
    """Return the file's size: the guest sees all of it."""
    if not matches(probe):
        raise BadHeader(f"there is no volume descriptor at {IDENTIFIER_AT - 1}")
    return ImageInfo("iso", probe.size)
