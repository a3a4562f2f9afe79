"""How tests run the command."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

Child: TypeAlias = "subprocess.Popen[str]"


@dataclass(frozen=True)
class Ran:
    """What one run of the command gave."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output, which was for a program."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """Standard error, which was for a program."""
        return json.loads(self.err)


class Run(Protocol):
    """Runs the command in this process."""

    def __call__(self, *arguments: str) -> Ran:
        """Run it to its end."""


class Start(Protocol):
    """Starts the command in a process of its own."""

    def __call__(
        self, *arguments: str, stdin: int | None = ..., stdout: int = ..., stderr: int = ...
    ) -> Child:
        """Start it."""


def wait_until(child: Child, true: Callable[[], bool]) -> None:
    """Wait until something is true that a running command makes so."""
    end = time.monotonic() + 20
    while not true():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)
