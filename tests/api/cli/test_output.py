"""What is written for people, for programs, and where nobody reads."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from tests.api.cli.command import Run, Start

import volary
from volary.api.cli.progress_bar import duration

ESCAPE = "\x1b"


def _read_until(terminal: int, word: bytes) -> bytes:
    """Return what a terminal shows until a word comes in it; pytest's own time limit ends it."""
    shown = b""
    while word not in shown:
        shown += os.read(terminal, 10_000)
    return shown


def test_the_version_is_that_of_the_package(run: Run) -> None:
    assert run("--version").out == f"volary {volary.__version__}\n"


def test_json_may_stand_anywhere(run: Run) -> None:
    run("vol", "create", "a.raw", "1M")
    first, last = run("--json", "vol", "list"), run("vol", "list", "--json")
    assert first.document == last.document


def test_a_volume_for_a_program_has_stable_names_and_bytes(run: Run, images: Path) -> None:
    run("vol", "create", "a.raw", "1M")
    (listed,) = run("--json", "vol", "list").document
    (pool,) = run("--json", "pool", "list").document
    assert listed == {
        "name": "a.raw",
        "pool": "default",
        "key": f"{pool['uuid']}/a.raw",
        "path": f"{images}/a.raw",
        "type": "file",
        "format": "raw",
        "capacity": 1 << 20,
        "allocation": 0,
        "physical": 1 << 20,
        "image": None,
    }
    shown = run("--json", "vol", "info", "a.raw").document
    assert [link["path"] for link in shown.pop("chain")] == [listed["path"]]
    assert shown == listed


def test_a_table_that_is_piped_is_neither_cut_nor_coloured(run: Run) -> None:
    name = "n" * 255
    run("vol", "create", name, "1M")
    lines = run("vol", "list").out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(f"{name}  raw  ")
    assert lines[1].endswith(f"/{name}")
    assert ESCAPE not in "".join(lines)


def test_a_table_on_a_narrow_terminal_is_neither_cut_nor_broken_up(
    run: Run, process: Start
) -> None:
    name = "n" * 200
    run("vol", "create", name, "1M")
    ours, its = pty.openpty()
    child = process("vol", "list", stdout=its)
    os.close(its)
    shown = _read_until(ours, f"/{name}".encode()).decode()
    os.close(ours)
    child.communicate()
    assert f"{name}  raw  " in shown


def test_a_reader_that_goes_away_gets_no_traceback(run: Run, process: Start) -> None:
    run("vol", "create", "a.raw", "1M")
    ours, its = os.pipe()
    os.close(ours)
    child = process("vol", "list", stdout=its)
    os.close(its)
    _, err = child.communicate()
    assert (child.returncode, err) == (141, "")


def test_a_full_disk_below_the_output_is_said(run: Run, process: Start) -> None:
    run("vol", "list")
    full = os.open("/dev/full", os.O_WRONLY)
    child = process("vol", "list", stdout=full)
    os.close(full)
    _, err = child.communicate()
    assert (child.returncode, err) == (
        1,
        "volary: writing the result: No space left on device\n",
    )


def test_a_reader_of_the_help_that_goes_away_gets_no_traceback(process: Start) -> None:
    ours, its = os.pipe()
    os.close(ours)
    child = process("--help", stdout=its)
    os.close(its)
    _, err = child.communicate()
    assert err == ""


def test_a_long_creation_shows_how_far_it_is_on_a_terminal(run: Run, creating: Start) -> None:
    run("vol", "list")
    ours, its = pty.openpty()
    creating(stderr=its)
    os.close(its)
    shown = _read_until(ours, b"256.00 MiB").decode()
    os.close(ours)
    assert "creating a.raw" in shown
    assert "\x1b[?25l" in shown  # the cursor is hidden meanwhile


def test_ctrl_c_takes_the_bar_away_and_shows_the_cursor_again(run: Run, creating: Start) -> None:
    run("vol", "list")
    ours, its = pty.openpty()
    child = creating(stderr=its)
    os.close(its)
    _read_until(ours, b"256.00 MiB")
    child.send_signal(2)
    shown = _read_until(ours, b"is left").decode()
    os.close(ours)
    assert "\x1b[?25h" in shown
    assert shown.index("\x1b[2K") < shown.index("volary: cancelled")


def test_what_is_quick_shows_no_bar(run: Run, process: Start) -> None:
    run("vol", "list")
    ours, its = pty.openpty()
    child = process("vol", "create", "b.raw", "1M", stderr=its)
    os.close(its)
    child.communicate()
    with pytest.raises(OSError, match="Input/output error"):  # closed, and nothing was written
        os.read(ours, 100)
    os.close(ours)


@pytest.mark.parametrize(
    "group",
    [
        (),
        ("pool",),
        ("vol",),
        ("job",),
        ("pool", "define"),
        ("vol", "create"),
        ("vol", "clone"),
        ("vol", "info"),
        ("vol", "resize"),
        ("vol", "upload"),
        ("vol", "download"),
        ("vol", "wipe"),
        ("vol", "delete"),
    ],
)
def test_help_ends_with_examples(run: Run, group: tuple[str, ...]) -> None:
    ran = run(*group, "--help")
    assert ran.status == 0
    assert "\n  Examples:\n    volary " in ran.out


def test_help_says_what_the_exit_statuses_mean(run: Run) -> None:
    said = " ".join(run("--help").out.split())
    assert "0 done; 1 the operation failed; 2 wrong usage; 3 no such pool, volume or job;" in said


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_the_command_says_how_to_get_it(missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None;"
        "import volary.api.cli; sys.exit(volary.api.cli.main())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"volary: the command needs {missing}")
    assert "pip install 'volary[cli]'" in ran.stderr


def test_json_is_one_document_even_of_a_strange_name(run: Run) -> None:
    name = 'a "quoted" \\ ü 漢.raw'
    run("vol", "create", name, "1M")
    assert json.loads(run("--json", "vol", "list").out)[0]["name"] == name


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.004, "4 ms"), (0.44, "0.4 s"), (12, "12 s"), (185, "3:05"), (3723, "1:02:03")],
)
def test_a_time_is_shown_as_people_say_it(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
