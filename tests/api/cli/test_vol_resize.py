"""`volary vol resize`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.api.cli.command import Run


@pytest.mark.parametrize(
    ("arguments", "capacity"),
    [
        (("8M",), 8 << 20),
        (("+1M",), 5 << 20),
        (("+1M", "--shrink"), 5 << 20),
        (("-1M", "--shrink"), 3 << 20),
        (("--shrink", "-1.5M"), 5 << 19),
        (("1M", "--shrink"), 1 << 20),
    ],
)
def test_a_volume_gets_the_size_that_is_asked_for(
    run: Run, images: Path, arguments: tuple[str, ...], capacity: int
) -> None:
    run("vol", "create", "a.raw", "4M")
    resized = run("--json", "vol", "resize", "a.raw", *arguments)
    assert resized.document["capacity"] == capacity
    assert (images / "a.raw").stat().st_size == capacity


def test_what_it_was_before_is_said(run: Run) -> None:
    run("vol", "create", "a.raw", "4M")
    assert run("vol", "resize", "a.raw", "8M").out == (
        "Volume 'a.raw' of pool 'default' resized: 8.00 MiB, 4.00 MiB before.\n"
    )


@pytest.mark.parametrize("capacity", ["-1M", "3M"])
def test_a_smaller_size_is_refused_unless_it_is_asked_for(
    run: Run, images: Path, capacity: str
) -> None:
    run("vol", "create", "a.raw", "4M")
    tried = run("vol", "resize", "a.raw", capacity)
    assert tried.status == 2
    assert tried.err == (
        "volary: volume 'a.raw' has 4.00 MiB: what it has beyond 3.00 MiB would be lost; "
        "add --shrink if that is meant\n"
    )
    assert (images / "a.raw").stat().st_size == 4 << 20


def test_what_is_added_is_reserved_when_asked(run: Run) -> None:
    run("vol", "create", "a.raw", "1M")
    resized = run("--json", "vol", "resize", "a.raw", "+4M", "--allocate").document
    assert resized["allocation"] >= 4 << 20


@pytest.mark.parametrize("capacity", ["+x", "-", "--2M"])
def test_a_size_that_is_none_is_wrong_usage(run: Run, capacity: str) -> None:
    run("vol", "create", "a.raw", "1M")
    assert run("vol", "resize", "a.raw", capacity).status == 2


def test_an_option_that_is_none_is_still_told(run: Run) -> None:
    tried = run("vol", "resize", "a.raw", "1M", "--shrnk")
    assert tried.status == 2
    assert "--shrnk" in tried.err
