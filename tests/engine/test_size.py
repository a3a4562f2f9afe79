from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volary.engine.errors import InvalidSpec
from volary.engine.size import LARGEST, format_size, parse_size, unit_factor


@pytest.mark.parametrize(
    ("given_size", "size"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("8 GiB", 8 * 1024**3),
        ("8G", 8 * 1024**3),
        ("8g", 8 * 1024**3),
        ("  1 KiB ", 1024),
        ("500 MB", 500 * 1000**2),
        ("1.5 GiB", 3 * 1024**3 // 2),
        ("512 B", 512),
        ("512 bytes", 512),
        ("7E", 7 * 1024**6),
        (LARGEST, LARGEST),
    ],
)
def test_a_size_is_bytes_or_a_string_with_libvirts_units(given_size: int | str, size: int) -> None:
    assert parse_size(given_size) == size


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (-1, "negative"),
        ("-1 GiB", "negative"),
        (2**63, "largest file size"),
        ("8 EiB", "largest file size"),
        ("8 GiBB", "unknown unit 'GiBB'"),
        ("GiB", "is no size"),
        ("", "is no size"),
        ("1 2", "is no size"),
        ("0x10", "is no size"),
        ("1e3", "is no size"),
        ("٣", "is no size"),
        ("0.3 B", "whole number"),
        (True, "is a bool"),
        (1.5, "is a float"),
        (None, "is a NoneType"),
        ("9" * 10_000, "is no size"),
    ],
)
def test_what_is_no_size_is_refused_with_the_reason(wrong: object, reason: str) -> None:
    with pytest.raises(InvalidSpec, match=reason):
        parse_size(wrong, "capacity")  # type: ignore[arg-type]  # that is what is tested


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidSpec):
        assert 0 <= parse_size(text) <= LARGEST


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (3 * 1024**3 // 2, "1.50 GiB")],
)
def test_a_size_is_shown_in_the_largest_unit_that_fits(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("", 1),
        ("byte", 1),
        ("Bytes", 1),
        ("k", 1024),
        ("KB", 1000),
        ("mib", 1 << 20),
        ("e", 1 << 60),
    ],
)
def test_units_are_libvirts(unit: str, factor: int) -> None:
    assert unit_factor(unit) == factor


@pytest.mark.parametrize("unit", ["x", "KiBB", " K", "iB", "\u212aB", "by"])
def test_what_is_no_unit_has_no_factor(unit: str) -> None:
    assert unit_factor(unit) is None
