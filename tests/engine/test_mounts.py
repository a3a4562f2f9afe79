from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from volary.engine.holders import told_holders
from volary.engine.mounts import mount_of, mounts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def point(tmp_path: Path) -> Iterator[Path]:
    """A file system of a test's own, at a path that the kernel cannot tell as it is."""
    where = tmp_path / "with blank,\ttab,\nline end and \\040"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "a source", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=False)


def test_a_mount_is_told_as_it_was_made(point: Path) -> None:
    found = mounts()[-1]
    assert (found.point, found.type, found.source) == (str(point), "tmpfs", "a source")
    assert found.device == point.stat().st_dev


def test_the_mount_of_a_file_is_found_until_it_is_unmounted(point: Path) -> None:
    with open(point / "file", "w") as file:
        assert mount_of(file.fileno()) == mounts()[-1]
        subprocess.run(["umount", "--lazy", point], check=True)
        assert mount_of(file.fileno()) is None


def test_who_keeps_a_file_system_from_being_unmounted_is_told(point: Path) -> None:
    assert told_holders(str(point)) == ""
    (point / "inner").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "inner", point / "inner"], check=True)
    try:
        with open(point / "file", "w"):
            told = told_holders(str(point))
    finally:
        subprocess.run(["umount", point / "inner"], check=True)
    name = Path("/proc/self/comm").read_text().strip()
    assert told == f"mount {point}/inner, process {os.getpid()} ({name})"
