"""The command, run as a user would, with nothing of it outside the test's directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from tests.api.cli.command import Child, Ran, Run, Start, wait_until

from volary.api.cli import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a user who has nothing of ours yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("TERM", "xterm")
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def images(home: Path) -> Path:
    """Return where the default pool's volumes are."""
    return home / "data" / "volary" / "images"


@pytest.fixture
def state(home: Path) -> Path:
    """Return the state directory."""
    return home / "state" / "volary"


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run the command in this process: one of its own takes a third of a second to begin."""

    def run_here(*arguments: str) -> Ran:
        capsys.readouterr()
        status = main(arguments)
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    yield run_here
    structlog.reset_defaults()


@pytest.fixture
def process(home: Path) -> Iterator[Start]:
    """Start the command in a process of its own, which takes signals and may own a lock."""
    begun: list[Child] = []
    # Whoever runs the tests in a shell's background has SIGINT ignored, and children inherit it.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from volary.api.cli import main; sys.exit(main())"
    )

    def start(
        *arguments: str,
        stdin: int | None = None,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> Child:
        child = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )
        begun.append(child)
        return child

    yield start
    for child in begun:
        with child:
            child.kill()


@pytest.fixture
def creating(process: Start, images: Path) -> Start:
    """Start a creation of a.raw that would take a minute, and wait until it is under way."""

    def start(
        *options: str,
        stdin: int | None = None,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> Child:
        creation = ("vol", "create", "a.raw", "256M", "--prealloc=full", "--limit=4M")
        child = process(*options, *creation, stdin=stdin, stdout=stdout, stderr=stderr)
        wait_until(child, lambda: _is_making_a_file(child, images))
        return child

    return start


def _is_making_a_file(child: Child, directory: Path) -> bool:
    try:
        files = [os.readlink(entry) for entry in Path(f"/proc/{child.pid}/fd").iterdir()]
    except OSError:  # one of them was closed meanwhile
        return False
    return any(file.startswith(f"{directory}/") for file in files)
