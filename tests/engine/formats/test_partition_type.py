"""What partitions are for, by their codes."""

from __future__ import annotations

import pytest

from volary.engine.formats.partition_type import TYPES, UNFINISHED, format_of
from volary.engine.pool_type import PARTITION_FORMATS


def test_every_format_of_libvirts_has_a_code() -> None:
    assert set(TYPES["dos"]) == set(PARTITION_FORMATS)
    assert set(TYPES["gpt"]) == set(PARTITION_FORMATS) - {"extended"}


@pytest.mark.parametrize("label", TYPES)
def test_a_code_tells_the_format_that_has_it_alone(label: str) -> None:
    codes = list(TYPES[label].values())
    for name, code in TYPES[label].items():
        if codes.count(code) == 1:
            assert format_of(label, code) == name


@pytest.mark.parametrize("label", TYPES)
def test_a_format_that_is_known_counts_as_long_as_the_code_is_its_own(label: str) -> None:
    for name, code in TYPES[label].items():
        assert format_of(label, code, name) == name
        assert format_of(label, TYPES[label]["linux-raid"], name) == "linux-raid"


@pytest.mark.parametrize("label", TYPES)
def test_what_tells_nothing_is_none(label: str) -> None:
    assert format_of(label, UNFINISHED[label]) == "none"
    assert format_of(label, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B") == "none"


def test_other_codes_of_dos_are_known() -> None:
    assert [format_of("dos", code) for code in ("5", "85", "6", "b")] == [
        *("extended", "extended", "fat16", "fat32")
    ]
