"""Sizes: bytes, or strings such as "8 GiB"."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

from volary.engine.errors import InvalidSpec

Size: TypeAlias = int | str
"""A number of bytes, or a string with a unit such as "8 GiB", "8G" or "500 MB"."""

LARGEST = 2**63 - 1
"""The largest file offset that Linux has (`off_t`, signed 64 bits)."""

# libvirt's scale (virScaleInteger): one letter, or letter and "iB", is a power of 1024; letter
# and "B" is a power of 1000.
_LETTERS = "KMGTPE"
_FACTORS = {"": 1, "B": 1, "BYTE": 1, "BYTES": 1}
for _power, _letter in enumerate(_LETTERS, start=1):
    _FACTORS[_letter] = _FACTORS[_letter + "IB"] = 1024**_power
    _FACTORS[_letter + "B"] = 1000**_power

# Twenty digits hold 2**64; a bound keeps a hostile string from being worked on.
_PATTERN = re.compile(r"\s{0,8}([0-9]{1,20}(?:\.[0-9]{1,20})?)\s{0,8}([A-Za-z]{0,5})\s{0,8}\Z")


def unit_factor(unit: str) -> int | None:
    """Return how many bytes a unit is, such as "KiB", upper or lower case; None for what is none.
    No unit is bytes.
    """
    return _FACTORS.get(unit.upper()) if unit.isascii() else None


def parse_size(size: Size, what: str = "size") -> int:
    """Return `size` in bytes.

    Units are read as libvirt reads them: K, M, G, T, P, E and KiB to EiB are powers of 1024, KB
    to EB powers of 1000, upper or lower case. `what` names the value in an error.

    Raises `InvalidSpec` for anything else, for a negative size, one that is no whole number of
    bytes, and one above 2**63 - 1.
    """
    if isinstance(size, bool) or not isinstance(size, int | str):
        raise InvalidSpec(f"{what}: {size!r} is a {type(size).__name__}; give bytes or '8 GiB'")
    if isinstance(size, str):
        return _within(_parse(size, what), what, size)
    return _within(size, what, size)


@lru_cache(maxsize=256)  # a service's sizes are few, and their strings take longer than bytes
def _parse(text: str, what: str) -> int:
    match = _PATTERN.match(text)
    if match is None:
        if text.lstrip().startswith("-"):
            raise InvalidSpec(f"{what}: {_shown(text)} is negative")
        raise InvalidSpec(f"{what}: {_shown(text)} is no size; give bytes or '8 GiB'")
    number, unit = match.groups()
    factor = _FACTORS.get(unit.upper())
    if factor is None:
        raise InvalidSpec(
            f"{what}: {_shown(text)} has the unknown unit {unit!r}; "
            "units are B, K, M, G, T, P, E, KiB to EiB and KB to EB"
        )
    if "." not in number:
        return int(number) * factor
    exact = Decimal(number) * factor
    if exact != exact.to_integral_value():
        raise InvalidSpec(f"{what}: {_shown(text)} is no whole number of bytes")
    return int(exact)


def _within(size: int, what: str, given: Size) -> int:
    if size < 0:
        raise InvalidSpec(f"{what}: {given} is negative")
    if size > LARGEST:
        raise InvalidSpec(
            f"{what}: {given} is above the largest file size of Linux, {LARGEST} bytes"
        )
    return size


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")  # noqa: PLR2004 - a line of text


def format_size(size: int) -> str:
    """Return `size` (bytes) for people: "8.00 GiB", "512 B"."""
    if size < 1024:  # noqa: PLR2004
        return f"{size} B"
    value = float(size)
    for letter in _LETTERS:
        value /= 1024
        if value < 1024 or letter == _LETTERS[-1]:  # noqa: PLR2004
            break
    return f"{value:.2f} {letter}iB"
