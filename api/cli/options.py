"""What was asked of the command as a whole, before its subcommand."""

from __future__ import annotations

import os
from dataclasses import dataclass

from volary.api.connection import SESSION, SYSTEM, default_state_dir


@dataclass(frozen=True, slots=True)
class Options:
    """The options that stand before the subcommand.

    connect: the URI, or None for the session's engine.
    state_dir: where pool definitions are kept, or None for the URI's own place.
    json: whether standard output is for a program.
    verbosity: how often -v was given.
    """

    connect: str | None = None
    state_dir: str | None = None
    json: bool = False
    verbosity: int = 0

    @property
    def state_directory(self) -> str:
        """The path of the state directory; raises `InvalidSpec` for an unknown URI."""
        directory = default_state_dir(self.connect or SESSION)
        return os.path.abspath(self.state_dir or directory)

    @property
    def default_target(self) -> str:
        """The path of the directory of pool "default"."""
        if self.connect == SYSTEM:
            return "/var/lib/volary/images"
        # XDG Base Directory Specification: data home, and what stands for it.
        home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
        return os.path.abspath(os.path.join(home, "volary", "images"))
