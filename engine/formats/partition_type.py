"""What a partition is said to be for, in the words of libvirt's volumes and of both tables.

The codes are those that libvirt 9.0.0 has parted write, and those of the UEFI specification and
sfdisk(8). On gpt, libvirt writes the one of "linux" whatever was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
_BASIC_DATA = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"

TYPES: Final[Mapping[str, Mapping[str, str]]] = {
    "dos": {
        "none": "83",
        "linux": "83",
        "fat16": "e",
        "fat32": "c",
        "linux-swap": "82",
        "linux-lvm": "8e",
        "linux-raid": "fd",
        "extended": "f",
    },
    "gpt": {
        "none": _LINUX,
        "linux": _LINUX,
        "fat16": _BASIC_DATA,
        "fat32": _BASIC_DATA,
        "linux-swap": "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
        "linux-lvm": "E6D6D379-F507-44C2-A23C-238F2A3DF928",
        "linux-raid": "A19D880F-05FC-4D3B-A006-743F0F84911E",
    },
}
"""The code of each format, by the kind of table."""

UNFINISHED: Final = {"dos": "7f", "gpt": "D3A6A4F0-3C5B-4B0E-9C39-5E1B7C1F6A52"}
"""The code of a partition whose content is still being written, by the kind of table. On dos it is
the one for experiments and local use, so that a mark has to be there, too; on gpt anybody may make
one up."""

_ALSO: Final = {
    **dict.fromkeys(("5", "85", "f"), "extended"),
    **dict.fromkeys(("4", "6", "14", "16", "1e"), "fat16"),
    **dict.fromkeys(("b", "1b", "1c"), "fat32"),
}
"""Further codes of dos, by whoever partitioned the disk."""


def format_of(label: str, code: str, known: str | None = None) -> str:
    """Return the format that a partition's code stands for: "none" where it tells nothing else.

    known: the format that it was created with, which counts where several have the same code.
    """
    codes = TYPES[label]
    if known is not None and codes.get(known) == code:
        return known
    if code in (codes["none"], UNFINISHED[label]):
        return "none"
    if code == _BASIC_DATA:
        return "fat32"
    return next((name for name, own in codes.items() if own == code), _ALSO.get(code, "none"))
