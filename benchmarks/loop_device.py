"""File systems of a benchmark's own, in an image on a loop device."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.runner import Bench

_MAKE = {
    # A thread of the kernel's writes the inode tables later, unless they are few and made now.
    "ext4": (
        "mkfs.ext4",
        *("-q", "-F", "-N", "1024", "-m", "0"),
        *("-E", "lazy_itable_init=0,lazy_journal_init=0"),
    ),
    "xfs": ("mkfs.xfs", "-q", "-m", "reflink=1"),
    "btrfs": ("mkfs.btrfs", "-q"),
}


@contextmanager
def mounted(bench: Bench, kind: str, size: int) -> Iterator[str | None]:
    """Mount a new file system of that kind, without discard, from an image of `size` bytes, and
    give its directory; None where we cannot, which is noted as missing.
    """
    what = f"{kind} on a loop device"
    make = _MAKE[kind]
    if os.geteuid() != 0 or shutil.which(make[0]) is None:
        bench.lacks(f"{what}: needs root, {make[0]} and mount")
        yield None
        return
    bench.say(f"making {kind} in an image")
    image = os.path.join(bench.directory, "image")
    directory = bench.fresh("mount")
    with ExitStack() as undo:
        with open(image, "xb") as file:
            undo.callback(os.unlink, image)
            file.truncate(bench.affordable(size))
        try:
            _run(*make, image)
            # Direct I/O on the image: otherwise its writes stay in the page cache.
            device = _run("losetup", "--find", "--show", "--direct-io=on", image).strip()
            undo.callback(_run, "losetup", "--detach", device)
            _run("mount", "-o", "nodiscard", device, directory)
            undo.callback(_run, "umount", directory)
        except RuntimeError as error:
            bench.lacks(f"{what}: {error}")
            yield None
        else:
            yield directory


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
