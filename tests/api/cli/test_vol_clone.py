"""`volary vol clone`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.api.cli.command import Run
from tests.conftest import NeedTool

CONTENT = os.urandom(1 << 20)


@pytest.fixture
def source(run: Run, images: Path) -> Path:
    """Make a.raw, with something in it."""
    run("vol", "create", "a.raw", "1M")
    (images / "a.raw").write_bytes(CONTENT)
    return images / "a.raw"


def test_a_clone_has_the_content_of_its_source(run: Run, source: Path, images: Path) -> None:
    cloned = run("vol", "clone", "a.raw", "b.raw")
    assert cloned.status == 0
    assert cloned.out.startswith(
        "Volume 'a.raw' of pool 'default' cloned to 'b.raw' of pool 'default': raw, 1.00 MiB, "
    )
    assert (images / "b.raw").read_bytes() == CONTENT


def test_a_clone_may_be_larger_and_in_another_pool(run: Run, source: Path, home: Path) -> None:
    run("pool", "define", "other", "--target", str(home / "other"), "--build")
    made = run("--json", "vol", "clone", "a.raw", "b.raw", "2M", "--to-pool=other").document
    assert (made["pool"], made["capacity"]) == ("other", 2 << 20)
    assert (home / "other" / "b.raw").read_bytes() == CONTENT + bytes(1 << 20)


def test_a_source_is_found_by_its_path_and_its_pool_takes_the_clone(
    run: Run, source: Path, home: Path
) -> None:
    run("pool", "define", "other", "--target", str(home / "other"), "--build")
    run("vol", "create", "b.raw", "1M", "--pool=other")
    made = run("--json", "vol", "clone", str(home / "other" / "b.raw"), "c.raw").document
    assert made["pool"] == "other"


def test_a_clone_in_another_format_has_the_same_content(
    run: Run, source: Path, images: Path, need_tool: NeedTool
) -> None:
    qemu_img = need_tool("qemu-img", "qemu-utils")
    made = run("--json", "vol", "clone", "a.raw", "b", "--format=qcow2", "--cluster-size=4K")
    assert made.document["image"]["cluster_size"] == 4096
    compared = subprocess.run(
        [qemu_img, "compare", "-f", "raw", "-F", "qcow2", str(source), str(images / "b")],
        check=False,
    )
    assert compared.returncode == 0


def test_a_clone_has_its_sources_format_and_what_that_is_backed_by(
    run: Run, source: Path, home: Path, images: Path, need_tool: NeedTool
) -> None:
    need_tool("qemu-img", "qemu-utils")
    run("pool", "define", "other", "--target", str(home / "other"), "--build")
    run("vol", "create", "top", "--pool=other", "--backing", str(source))
    made = run("--json", "vol", "clone", "top", "flat", "--pool=other").document
    assert (made["format"], made["image"]["backing_file"]) == ("qcow2", None)
    run("vol", "clone", "flat", "flat.raw", "--pool=other", "--format=raw")
    assert (home / "other" / "flat.raw").read_bytes() == CONTENT


def test_two_secrets_cannot_come_from_standard_input(run: Run, home: Path) -> None:
    secrets = ("--source-secret-file=-", "--secret-file=-", "--encrypt")
    tried = run("vol", "clone", "a", "b", *secrets)
    assert (tried.status, os.listdir(home)) == (2, [])
    assert "give the other one in a file" in tried.err


def test_a_source_that_is_missing_is_not_found(run: Run) -> None:
    assert run("vol", "clone", "none", "b").status == 3
