"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\x1b[?25h"


class Interrupted(BaseException):
    """The user wants the command to end.

    Not an `Exception`, like KeyboardInterrupt, so that nothing that handles errors takes it for
    one; and no KeyboardInterrupt, which typer would handle itself.
    """

    def __init__(self, signum: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.signum = signum

    @property
    def status(self) -> int:
        """The exit status that shells give a process which the signal ended."""
        return 128 + self.signum


@contextmanager
def interruptible() -> Iterator[None]:
    """Have the first signal raise `Interrupted` in the main thread; a second one ends the process
    at once. A half-made volume has no name then, as after a crash.
    """
    came = False

    def handle(signum: int, _: FrameType | None) -> None:
        nonlocal came
        if came:
            if sys.stderr.isatty():
                os.write(2, _SHOW_CURSOR.encode())  # a progress bar hides it
            os._exit(128 + signum)
        came = True
        raise Interrupted(signum)

    before = {}
    for signum in _SIGNALS:
        # A shell starts a job of a script's background with SIGINT ignored, and means it.
        if signal.getsignal(signum) is not signal.SIG_IGN:
            before[signum] = signal.signal(signum, handle)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
