"""Volumes that are encrypted, and where the command has their secrets from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.api.cli.command import Run, Start
from tests.conftest import NeedTool

PASSPHRASE = "correct horse"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory, need_tool: NeedTool) -> Path:
    """Make an encrypted qcow2 once, its secret on standard input: that alone takes seconds."""
    need_tool("qemu-img", "qemu-utils")
    home = tmp_path_factory.mktemp("encrypted")
    places = {"XDG_STATE_HOME": str(home / "state"), "XDG_DATA_HOME": str(home / "data")}
    options = ["--format=qcow2", "--encrypt", "--secret-file=-"]
    subprocess.run(
        [sys.executable, "-m", "volary.api.cli", "vol", "create", "locked", "1M", *options],
        input=PASSPHRASE.encode(),
        env=os.environ | places,
        check=True,
    )
    return home / "data" / "volary" / "images" / "locked"


@pytest.fixture
def locked(encrypted: Path, run: Run, images: Path) -> str:
    """Have a copy of it in the default pool, and return its name."""
    run("vol", "list")
    shutil.copy(encrypted, images / "locked")
    return "locked"


def test_an_encrypted_volume_says_so(run: Run, locked: str) -> None:
    shown = run("--json", "vol", "info", locked).document
    assert (shown["format"], shown["image"]["encryption"]) == ("qcow2", "luks")
    assert "Encryption:      luks" in run("vol", "info", locked).out


@pytest.mark.parametrize(
    ("command", "option"),
    [(("clone", "locked", "open"), "--source-secret-file"), (("resize", "locked", "2M"), "")],
)
def test_an_encrypted_volume_needs_its_secret(
    run: Run, locked: str, command: tuple[str, ...], option: str
) -> None:
    refused = run("vol", *command)
    assert (refused.status, refused.out) == (2, "")
    assert refused.err == (
        "volary: volume 'locked' is encrypted; name the file with its passphrase with "
        f"{option or '--secret-file'}\n"
    )


def test_a_clone_that_is_not_encrypted_as_its_source_is_said_to_be_so(
    process: Start, locked: str, home: Path
) -> None:
    # The newline that an editor writes is no part of it.
    (home / "key").write_text(f"{PASSPHRASE}\n")
    with open(home / "key") as key:
        clone = ("vol", "clone", locked, "open", "--source-secret-file=-")
        child = process(*clone, stdin=key.fileno())
        _, err = child.communicate()
    assert child.returncode == 0
    assert err == (
        "volary: the clone 'open' is not encrypted, although 'locked' is; to have it encrypted, "
        "clone it with --encrypt\n"
    )
