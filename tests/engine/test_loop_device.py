from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

from volary.engine import loop_device


def test_what_is_no_loop_device_is_not_even_opened(tmp_path: Path) -> None:
    """The path may be what a user's own file system says, and opening a FIFO wakes somebody."""
    (tmp_path / "source").touch()
    with open(tmp_path / "source", "r+b") as file:
        # Whoever opens it breaks the lease (fcntl(2)), of which we are told by a signal.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert not loop_device.has_behind(str(tmp_path / "source"), os.fstat(file.fileno()))
        assert fcntl.fcntl(file, fcntl.F_GETLEASE) == fcntl.F_WRLCK
