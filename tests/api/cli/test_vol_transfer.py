"""`volary vol upload` and `volary vol download`."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
from tests.api.cli.command import Run, Start, wait_until

CONTENT = os.urandom(1 << 20)


@pytest.fixture
def volume(run: Run, images: Path) -> Path:
    """Make a.raw, 4 MiB."""
    run("vol", "create", "a.raw", "4M")
    return images / "a.raw"


@pytest.fixture
def file(home: Path) -> Path:
    """Make a file of 1 MiB."""
    (home / "file").write_bytes(CONTENT)
    return home / "file"


def test_a_file_is_written_into_the_volume(run: Run, volume: Path, file: Path) -> None:
    uploaded = run("vol", "upload", "a.raw", str(file))
    assert uploaded.status == 0
    assert uploaded.out.startswith(
        f"{file} uploaded to volume 'a.raw' of pool 'default': 1.00 MiB of data, "
    )
    assert volume.read_bytes() == CONTENT + bytes(3 << 20)


def test_a_part_of_a_volume_is_written(run: Run, volume: Path, file: Path) -> None:
    run("vol", "upload", "a.raw", str(file), "--offset=2M", "--length=1M")
    assert volume.read_bytes() == bytes(2 << 20) + CONTENT + bytes(1 << 20)


def test_standard_input_is_written_into_the_volume(
    process: Start, volume: Path, file: Path
) -> None:
    with open(file) as content:
        child = process("vol", "upload", "a.raw", "-", stdin=content.fileno())
        out, err = child.communicate()
    assert child.returncode == 0, err
    assert out.startswith("Standard input uploaded to volume 'a.raw'")
    assert volume.read_bytes()[: len(CONTENT)] == CONTENT


def test_an_upload_that_makes_a_volume_another_format_says_so(
    run: Run, volume: Path, images: Path
) -> None:
    run("vol", "create", "b", "1G", "--format=qcow2")
    uploaded = run("vol", "upload", "a.raw", str(images / "b"))
    assert uploaded.out.endswith("; the volume is qcow2, 1.00 GiB.\n")


def test_an_upload_that_fails_says_how_far_it_came(
    process: Start, volume: Path, home: Path
) -> None:
    child = process("--json", "vol", "upload", "a.raw", "-", "--length=2M", stdin=subprocess.PIPE)
    out, err = child.communicate("x" * (1 << 20))
    assert (child.returncode, out) == (1, "")
    problem = json.loads(err)
    assert (problem["error"], problem["done"]) == ("TransferFailed", 1 << 20)
    assert "1048576 bytes from offset 0 on are written" in problem["message"]
    assert volume.read_bytes()[: 2 << 20] == b"x" * (1 << 20) + bytes(1 << 20)


def test_a_file_that_is_too_large_is_refused_before_anything_is_written(
    run: Run, volume: Path, file: Path
) -> None:
    tried = run("vol", "upload", "a.raw", str(file), "--offset=3.5M")
    assert tried.status == 1
    assert "0 bytes from offset 3670016 on are written" in tried.err
    assert volume.read_bytes() == bytes(4 << 20)


def test_ctrl_c_during_an_upload_says_that_it_stays(
    process: Start, volume: Path, images: Path
) -> None:
    child = process("vol", "upload", "a.raw", "-", stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write("x" * (1 << 20))
    child.stdin.flush()
    wait_until(child, lambda: volume.read_bytes()[:1] == b"x")
    child.send_signal(signal.SIGINT)
    assert child.wait() == 130
    assert child.stderr is not None
    (told,) = child.stderr.read().splitlines()
    assert told.startswith("volary: cancelled: ")
    assert "into volume 'a.raw'" in told


def test_a_volume_is_read_into_a_file_in_the_place_of_another(
    run: Run, volume: Path, file: Path, home: Path
) -> None:
    run("vol", "upload", "a.raw", str(file), "--offset=1M")
    (home / "copy").write_text("before")
    read = run("vol", "download", "a.raw", str(home / "copy"))
    assert read.out.startswith(
        f"Volume 'a.raw' of pool 'default' downloaded to {home / 'copy'}: 4.00 MiB, "
    )
    assert (home / "copy").read_bytes() == volume.read_bytes()
    part = run("--json", "vol", "download", "a.raw", str(home / "part"), "--offset=1M")
    assert part.document["downloaded"] == 3 << 20
    assert (home / "part").read_bytes() == volume.read_bytes()[1 << 20 :]


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_standard_output_carries_the_volume_and_nothing_else(
    process: Start, volume: Path, home: Path, option: tuple[str, ...]
) -> None:
    volume.write_bytes(os.urandom(4 << 20))
    with open(home / "out", "wb") as out:
        child = process(*option, "vol", "download", "a.raw", "-", stdout=out.fileno())
        _, err = child.communicate()
    assert child.returncode == 0
    assert (home / "out").read_bytes() == volume.read_bytes()
    assert '"downloaded": 4194304' in err if option else "'a.raw' of pool 'default'" in err


def test_a_reader_that_has_enough_ends_a_download_quietly(process: Start, volume: Path) -> None:
    volume.write_bytes(os.urandom(4 << 20))
    ours, its = os.pipe()
    child = process("vol", "download", "a.raw", "-", stdout=its)
    os.close(its)
    assert os.read(ours, 10) == volume.read_bytes()[:10]
    os.close(ours)
    _, err = child.communicate()
    assert (child.returncode, err) == (141, "")


def test_a_volume_is_not_written_to_a_terminal(process: Start, volume: Path) -> None:
    ours, its = pty.openpty()
    child = process("vol", "download", "a.raw", "-", stdout=its)
    _, err = child.communicate()
    os.close(its)
    os.close(ours)
    assert child.returncode == 2
    assert "no text for a terminal" in err


def test_ctrl_c_during_a_download_leaves_no_file(
    run: Run, process: Start, volume: Path, home: Path
) -> None:
    volume.write_bytes(os.urandom(4 << 20))
    run("vol", "create", "b.raw", "64M", "--prealloc=full")
    where = home / "there"
    where.mkdir()
    child = process("vol", "download", "b.raw", str(where / "copy"), "--limit=4M")
    wait_until(child, lambda: os.listdir(where) != [])
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == 130
    assert err == f"volary: cancelled: nothing was written to {where}/copy\n"
    assert os.listdir(where) == []
