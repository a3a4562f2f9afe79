"""The header of a LUKS volume, version 1 or 2 (the two "On-Disk Format Specification"s)."""

from __future__ import annotations

import json
from struct import Struct

from volary.engine.formats.probe import BadHeader, Probe
from volary.engine.image_info import ImageInfo

_MAGIC = b"LUKS\xba\xbe"
_LUKS1 = Struct(">6xH32x32x32xI")
_LUKS2 = Struct(">6xHQ")
_SECTOR = 512
_JSON_AT = 4096
_LEAST_LUKS2 = 16 << 10
_MOST_LUKS2 = 4 << 20
_MOST_JSON = 64 << 10
"""Bytes of the JSON area that are read: text with all 32 key slots in use has less than half of
that, although the area may have up to 4 MiB."""


def matches(probe: Probe) -> bool:
    """Say whether it is LUKS, of whatever version."""
    return probe.head.startswith(_MAGIC)


def parse(probe: Probe) -> ImageInfo:
    """Read the header: what is behind it is the guest's."""
    version = int.from_bytes(probe.head[6:8])
    if version == 1:
        _version, sectors = probe.unpack(_LUKS1, 0)
        start = sectors * _SECTOR
        capacity = probe.size - start
    elif version == 2:  # noqa: PLR2004
        start, capacity = _payload(probe)
    else:
        raise BadHeader(f"version {version} of LUKS is not known; 1 and 2 are")
    problem = None
    if start > probe.size:
        problem = f"the payload at {start} is beyond the file's end at {probe.size}"
        capacity = 0
    return ImageInfo("luks", capacity, encryption="luks", problem=problem)


def _payload(probe: Probe) -> tuple[int, int]:
    """Return where the payload of a LUKS2 volume begins, and how long it is."""
    _version, header_length = probe.unpack(_LUKS2, 0)
    if not _LEAST_LUKS2 <= header_length <= _MOST_LUKS2:
        raise BadHeader(f"a header of {header_length} bytes is not one of 16 KiB to 4 MiB")
    area = probe.read(_JSON_AT, min(header_length - _JSON_AT, _MOST_JSON))
    text, end, _rest = area.partition(b"\0")
    if not end:
        raise BadHeader(f"the JSON area does not end within {_MOST_JSON >> 10} KiB")
    try:
        segments = [
            (_number(segment["offset"]), segment["size"])
            for segment in json.loads(text)["segments"].values()
            # While it is encrypted anew, what was there before is kept as a backup.
            if not any(flag.startswith("backup") for flag in segment.get("flags", ()))
        ]
        return _extent(segments, probe.size)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadHeader("the JSON area names no segment of data") from None


def _number(value: object) -> int:
    """Return what the format writes as a string, JSON's numbers being too short for it."""
    if not isinstance(value, str) or len(value) > len(str(2**64)):
        raise ValueError(value)
    number = int(value)
    if number < 0:
        raise ValueError(value)
    return number


def _extent(segments: list[tuple[int, object]], size: int) -> tuple[int, int]:
    start = min(offset for offset, _length in segments)
    if any(length == "dynamic" for _offset, length in segments):  # up to the end of the device
        return start, size - start
    return start, sum(_number(length) for _offset, length in segments)
