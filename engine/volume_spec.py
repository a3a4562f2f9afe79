"""What a volume is to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from volary.engine.errors import InvalidSpec
from volary.engine.mode import Mode, check_id, parse_mode
from volary.engine.names import check_name
from volary.engine.size import Size, parse_size

Preallocation: TypeAlias = Literal["off", "falloc", "full"]
"""How much of a volume is on disk when its creation returns."""

FORMATS = ("raw",)
"""Formats that a volume can be created in."""


@dataclass(frozen=True, slots=True, init=False)
class VolumeSpec:
    """What a volume is to be.

    name: one path component, at most 255 bytes.
    capacity: bytes that the guest sees, or a string such as "8 GiB"; above 0.
    allocation: bytes to have on disk from the start, at most `capacity`. Not given: none for
        `preallocation` "off" or not given, all of them for "falloc" and "full".
    format: "raw".
    preallocation: "off" leaves the volume sparse; "falloc" reserves the allocation with
        fallocate(2), which reads as zeros; "full" writes it with zeros. Not given, an allocation
        above zero is fallocated, as libvirt does.
    mode: permission bits, such as 0o640 or "0640"; 0600 if not given.
    owner, group: numeric ids; those of the process if not given.

    Raises `InvalidSpec` saying which part cannot be meant so.
    """

    name: str
    capacity: int
    allocation: int
    format: str
    preallocation: Preallocation
    mode: int | None
    owner: int | None
    group: int | None

    def __init__(
        self,
        name: str,
        *,
        capacity: Size,
        allocation: Size | None = None,
        format: str = "raw",  # noqa: A002 - libvirt's word
        preallocation: Preallocation | None = None,
        mode: Mode | None = None,
        owner: int | None = None,
        group: int | None = None,
    ) -> None:
        where = f"volume {name!r}"
        put = object.__setattr__
        put(self, "name", check_name(name, "volume"))
        if format not in FORMATS:
            raise InvalidSpec(f"{where}: unknown format {format!r}; known: {', '.join(FORMATS)}")
        size = parse_size(capacity, f"{where}: capacity")
        if size == 0:
            raise InvalidSpec(f"{where}: capacity is 0; a raw volume has at least one byte")
        put(self, "format", format)
        put(self, "capacity", size)
        way, on_disk = _allocation(where, size, allocation, preallocation)
        put(self, "preallocation", way)
        put(self, "allocation", on_disk)
        put(self, "mode", None if mode is None else parse_mode(mode, f"{where}: mode"))
        put(self, "owner", check_id(owner, f"{where}: owner"))
        put(self, "group", check_id(group, f"{where}: group"))


def _allocation(
    where: str, capacity: int, allocation: Size | None, preallocation: Preallocation | None
) -> tuple[Preallocation, int]:
    """Return how to preallocate and how many bytes."""
    if preallocation is not None and preallocation not in get_args(Preallocation):
        known = ", ".join(get_args(Preallocation))
        raise InvalidSpec(f"{where}: unknown preallocation {preallocation!r}; known: {known}")
    if allocation is None:
        return (preallocation or "off"), (capacity if preallocation in ("falloc", "full") else 0)
    size = parse_size(allocation, f"{where}: allocation")
    if size > capacity:
        raise InvalidSpec(
            f"{where}: allocation, {size} bytes, is above the capacity, {capacity} bytes"
        )
    if size == 0:
        return "off", 0
    if preallocation == "off":
        raise InvalidSpec(
            f"{where}: preallocation 'off' leaves nothing allocated, yet allocation is {size} "
            "bytes; leave one of the two out"
        )
    return (preallocation or "falloc"), size
