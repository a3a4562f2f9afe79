"""Which format an image has, and what its header says, from a bounded look at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from volary.engine.formats import (
    bochs_header,
    cloop_header,
    cow_header,
    dmg_header,
    iso_header,
    luks_header,
    ploop_header,
    qcow2_header,
    qcow_header,
    qed_header,
    vdi_header,
    vhdx_header,
    vmdk_header,
    vpc_header,
)
from volary.engine.formats.probe import BadHeader, Probe
from volary.engine.image_info import ImageInfo

_MOST_CAPACITY = 2**63 - 1


class _Recogniser(NamedTuple):
    format: str
    start: bytes
    """What the file begins with, as far as one look tells it from the others; empty when what
    tells it is elsewhere."""
    matches: Callable[[Probe], bool]
    parse: Callable[[Probe], ImageInfo]


_RECOGNISERS = (
    _Recogniser("qcow2", b"QFI\xfb", qcow2_header.matches, qcow2_header.parse),
    _Recogniser("qcow", b"QFI\xfb", qcow_header.matches, qcow_header.parse),
    _Recogniser("qed", b"QED\0", qed_header.matches, qed_header.parse),
    _Recogniser("vmdk", b"KDMV", vmdk_header.matches, vmdk_header.parse),
    _Recogniser("vmdk", b"COWD", vmdk_header.matches, vmdk_header.parse),
    _Recogniser("vpc", b"cone", vpc_header.matches, vpc_header.parse),
    _Recogniser("vhdx", b"vhdx", vhdx_header.matches, vhdx_header.parse),
    _Recogniser("luks", b"LUKS", luks_header.matches, luks_header.parse),
    _Recogniser("ploop", b"With", ploop_header.matches, ploop_header.parse),
    _Recogniser("bochs", b"Boch", bochs_header.matches, bochs_header.parse),
    _Recogniser("cloop", b"#!/b", cloop_header.matches, cloop_header.parse),
    _Recogniser("cow", b"OOOM", cow_header.matches, cow_header.parse),
    # A guest whose image is one of the above may have written what tells these into its clusters:
    # hence they come last.
    _Recogniser("vdi", b"", vdi_header.matches, vdi_header.parse),
    _Recogniser("iso", b"", iso_header.matches, iso_header.parse),
    _Recogniser("vmdk", b"", vmdk_header.matches_text, vmdk_header.parse),
    _Recogniser("dmg", b"", dmg_header.matches, dmg_header.parse),
)


def _starting(start: bytes) -> tuple[_Recogniser, ...]:
    return tuple(each for each in _RECOGNISERS if each.start == start)


_BY_START = {each.start: _starting(each.start) for each in _RECOGNISERS if each.start}
_ELSEWHERE = _starting(b"")
_AT_END = {"vpc": vpc_header.parse, "dmg": dmg_header.parse}
"""Formats that may have at the file's end what tells them, and where it is not looked for unless
somebody says that it is there: see their modules."""

_ALIASES = {"parallels": "ploop"}  # QEMU's name, and libvirt's

FORMATS = frozenset({"raw", *(each.format for each in _RECOGNISERS)})
"""The formats that are known here, by libvirt's names."""


def recognise(probe: Probe, *, format: str | None = None) -> ImageInfo:  # noqa: A002 - its name
    """Return what an image's header says.

    format: what the image is said to be; None to find out. An image that is said to be "raw" is
        raw, whatever its guest wrote into it.

    Whatever the bytes are, the answer is an `ImageInfo`: with a `problem`, and a capacity of 0
    where none can be told, when the header cannot be believed. No other file is opened, and no
    more is read than `probe` allows. An OSError of pread(2) passes through.
    """
    if format is not None:
        return _believe(probe, _ALIASES.get(format, format))
    for each in _BY_START.get(probe.head[:4], ()):
        if each.matches(probe):
            return _parse(probe, each.format, each.parse)
    for each in _ELSEWHERE:
        if each.matches(probe):
            return _parse(probe, each.format, each.parse)
    return ImageInfo("raw", probe.size)


def _believe(probe: Probe, said: str) -> ImageInfo:
    if said == "raw":
        return ImageInfo("raw", probe.size)
    for each in _RECOGNISERS:
        if each.format == said and each.matches(probe):
            return _parse(probe, said, each.parse)
    if said in _AT_END:
        return _parse(probe, said, _AT_END[said])
    if said in FORMATS:
        return ImageInfo(said, 0, problem=f"nothing in the file tells that it is {said}")
    return ImageInfo(said, 0, problem=f"the format {said!r} is not known")


def _parse(probe: Probe, name: str, parse: Callable[[Probe], ImageInfo]) -> ImageInfo:
    try:
        info = parse(probe)
    except BadHeader as error:
        return ImageInfo(name, 0, problem=str(error))
    if not 0 <= info.capacity <= _MOST_CAPACITY:
        problem = f"a capacity of {info.capacity} bytes is more than {_MOST_CAPACITY}"
        return replace(info, capacity=0, problem=info.problem or problem)
    return info
