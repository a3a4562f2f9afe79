"""What is in a directory, and how much room is left there."""

from __future__ import annotations

import os
from pathlib import Path

from tests.system.deadline import wait_until

TOLERANCE = 2 << 20
"""Bytes that a file system keeps for its own tables after it gave files back."""


def names(directory: Path) -> list[str]:
    """Return every name in it, the hidden ones too."""
    return sorted(os.listdir(directory))


def free_space(directory: Path) -> int:
    """Return the bytes that may still be taken there."""
    answer = os.statvfs(directory)
    return answer.f_bavail * answer.f_frsize


def wait_for_space(directory: Path, before: int) -> None:
    """Return when as much is free as `before`: xfs and btrfs give space back in the background."""
    wait_until(
        lambda: free_space(directory) >= before - TOLERANCE,
        f"{before} bytes are free in {directory} again",
    )
