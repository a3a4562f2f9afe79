"""A disk of a test's own: a loop device on a sparse file."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import NeedTool
from tests.engine.backends.pool_kinds import loop_device

_PACKAGES = {
    "sfdisk": "fdisk",
    "wipefs": "util-linux",
    "blkid": "util-linux",
    "lsblk": "util-linux",
    "partx": "util-linux",
    "mkfs.ext4": "e2fsprogs",
}


class LoopDisk:
    """A disk; path: of its node. name: of that."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = os.path.basename(path)

    def partition(self, number: int) -> str:
        """Return what a partition is called."""
        return f"{self.name}p{number}"

    def node(self, number: int) -> str:
        """Return the path of a partition."""
        return f"{self.path}p{number}"

    def sfdisk(self) -> list[dict[str, Any]]:
        """Return the partitions as sfdisk tells them."""
        table = json.loads(command("sfdisk", "--json", self.path))["partitiontable"]
        found: list[dict[str, Any]] = table.get("partitions", [])
        return found

    def partition_by_hand(self, script: str) -> None:
        """Write a table as somebody else would, of which the kernel is not told."""
        arguments = ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", self.path]
        subprocess.run(arguments, input=script, text=True, check=True, capture_output=True)

    def dump(self) -> str:
        """Return the table as sfdisk's script."""
        return command("sfdisk", "--dump", self.path)


def command(*words: object) -> str:
    """Run a program, and return what it prints."""
    done = subprocess.run([*map(str, words)], check=True, capture_output=True, text=True)
    return done.stdout


@contextmanager
def loop_disk(image: Path, size: int, need_tool: NeedTool) -> Iterator[LoopDisk]:
    """Have a disk of `size` bytes with nothing on it."""
    for tool, package in _PACKAGES.items():
        need_tool(tool, package)
    image.touch()
    os.truncate(image, size)
    with loop_device(image, need_tool) as device:
        try:
            yield LoopDisk(device)
        finally:
            # The kernel would show those of a loop device that is detached for ever.
            subprocess.run(["partx", "--delete", device], check=False, capture_output=True)
