"""`volary vol wipe`, and `volary vol delete --zeroed`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.api.cli.command import Run, Start, wait_until


@pytest.fixture
def volume(run: Run, images: Path) -> Path:
    """Make a.raw of 32 MiB, full of ones."""
    run("vol", "create", "a.raw", "32M")
    (images / "a.raw").write_bytes(b"\xff" * (32 << 20))
    return images / "a.raw"


def _begun(volume: Path) -> bool:
    with open(volume, "rb") as file:
        return file.read(1) == b"\0"


def _zeros(volume: Path) -> int:
    """Return how many bytes are zeros."""
    return volume.read_bytes().count(b"\0")


def test_a_wiped_volume_is_all_zeros(run: Run, volume: Path) -> None:
    wiped = run("vol", "wipe", "a.raw")
    assert wiped.status == 0
    assert wiped.out.startswith(
        "Volume 'a.raw' of pool 'default' wiped with 'zero': 32.00 MiB written, "
    )
    assert volume.read_bytes() == bytes(32 << 20)


def test_an_algorithm_has_its_passes(run: Run, volume: Path) -> None:
    assert (
        "wiped with 'nnsa': 128.00 MiB in 4 passes"
        in run("vol", "wipe", "a.raw", "--algorithm=nnsa").out
    )


def test_a_trimmed_volume_takes_no_space(run: Run, volume: Path) -> None:
    trimmed = run("--json", "vol", "wipe", "a.raw", "--algorithm=trim").document
    assert trimmed["capacity"] == 32 << 20
    assert trimmed["allocation"] < 1 << 20


def test_a_wiped_image_is_raw(run: Run, images: Path) -> None:
    run("vol", "create", "a", "1M", "--format=qcow2")
    assert run("--json", "vol", "wipe", "a").document["format"] == "raw"


def test_an_algorithm_that_is_none_is_wrong_usage(run: Run) -> None:
    tried = run("vol", "wipe", "a.raw", "--algorithm=bleach")
    assert tried.status == 2
    assert "gutmann" in tried.err


def test_ctrl_c_during_a_wipe_says_how_far_it_came(process: Start, volume: Path) -> None:
    child = process("vol", "wipe", "a.raw", "--limit=4M")
    wait_until(child, lambda: _begun(volume))
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == 130
    told = "volary: cancelled: volume 'a.raw' is wiped in part, and that is not undone: "
    assert err.startswith(told)
    assert 0 < _zeros(volume) < 32 << 20
    assert volume.stat().st_size == 32 << 20


def test_ctrl_c_during_a_zeroed_delete_leaves_the_volume(
    process: Start, run: Run, volume: Path
) -> None:
    child = process("vol", "delete", "a.raw", "--zeroed", "--limit=4M")
    wait_until(child, lambda: _begun(volume))
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == 130
    assert err.startswith("volary: cancelled: volume 'a.raw' is not deleted")
    assert 0 < _zeros(volume) < 32 << 20
    assert run("vol", "info", "a.raw").status == 0


def test_a_zeroed_volume_is_deleted(run: Run, volume: Path, images: Path) -> None:
    # Another name of the same file shows what became of its content.
    os.link(volume, images.parent / "kept")
    assert run("vol", "delete", "a.raw", "--zeroed").status == 0
    assert os.listdir(images) == []
    assert (images.parent / "kept").read_bytes() == bytes(32 << 20)
