"""What the system tests may use: file systems of their own, and a host service to run in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.system.own_libvirtd import system_libvirtd

__all__ = ["system_libvirtd"]

RunHost = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def need_root() -> None:
    """Skip where mount(2) would be refused."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root: run the tests as root")


@pytest.fixture
def run_host() -> RunHost:
    """Run a program in an interpreter of its own: it may hang, exit, fork or stop every actor."""

    def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            # -W error: what a library warns of, its host's users see.
            [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    return run
