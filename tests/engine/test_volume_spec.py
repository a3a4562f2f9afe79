from __future__ import annotations

from typing import Any

import pytest

from volary.engine.errors import InvalidSpec
from volary.engine.volume_spec import VolumeSpec

GIB = 1024**3


@pytest.mark.parametrize(
    ("options", "preallocation", "allocation"),
    [
        ({}, "off", 0),
        ({"allocation": 0}, "off", 0),
        ({"allocation": "1 GiB"}, "falloc", GIB),
        ({"allocation": "8 GiB"}, "falloc", 8 * GIB),
        ({"preallocation": "off"}, "off", 0),
        ({"preallocation": "falloc"}, "falloc", 8 * GIB),
        ({"preallocation": "full"}, "full", 8 * GIB),
        ({"preallocation": "full", "allocation": "1 GiB"}, "full", GIB),
        ({"preallocation": "full", "allocation": 0}, "off", 0),
    ],
)
def test_allocation_and_preallocation_complete_each_other(
    options: dict[str, Any], preallocation: str, allocation: int
) -> None:
    spec = VolumeSpec("a", capacity="8 GiB", **options)
    assert (spec.preallocation, spec.allocation) == (preallocation, allocation)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"capacity": 0}, "capacity is 0"),
        ({"capacity": -5}, "capacity: -5 is negative"),
        ({"capacity": 2**63}, "capacity: .* above the largest"),
        ({"capacity": "8 GiBB"}, "capacity: '8 GiBB' has the unknown unit"),
        ({"capacity": 1, "allocation": 2}, "allocation, 2 bytes, is above the capacity"),
        ({"capacity": 1, "format": "qcow9"}, "unknown format 'qcow9'; known: raw"),
        ({"capacity": 1, "preallocation": "some"}, "unknown preallocation 'some'"),
        (
            {"capacity": 1, "preallocation": "off", "allocation": 1},
            "preallocation 'off' leaves nothing",
        ),
        ({"capacity": 1, "mode": "9"}, "mode: '9' is not octal"),
        ({"capacity": 1, "mode": 0o10000}, "mode: 4096 is not within"),
        ({"capacity": 1, "owner": -1}, "owner: -1 is no numeric id"),
        ({"capacity": 1, "group": "wheel"}, "group: 'wheel' is no numeric id"),
    ],
)
def test_what_cannot_be_meant_is_refused_naming_the_volume(
    options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidSpec, match=f"volume 'a': {reason}"):
        VolumeSpec("a", **options)


def test_a_mode_may_be_octal_digits() -> None:
    assert VolumeSpec("a", capacity=1, mode="0640").mode == 0o640


def test_a_spec_does_not_change() -> None:
    spec = VolumeSpec("a", capacity=1)
    with pytest.raises(AttributeError):
        spec.capacity = 2  # type: ignore[misc]  # that is what is tested
