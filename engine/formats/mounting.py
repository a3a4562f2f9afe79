"""Mounting and unmounting: mount(8) and umount(8), which know every file system's options, tell
its kind, attach images to loop devices and note what the kernel does not keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from volary.engine.formats import process
from volary.engine.formats.process import Limits, Tool
from volary.engine.progress import Operation

_MOUNT: Final = Tool("mount", "mount", first_words=True)
_UMOUNT: Final = Tool("umount", "mount", first_words=True)
_UNMOUNT_LIMITS = Limits(cpu=60, memory=256 << 20)


def mount(
    source: str,
    point: str,
    *,
    format: str,  # noqa: A002 - libvirt's word
    options: Sequence[str],
) -> Operation[None]:
    """Mount a device, or with the option "loop" an image, on a directory.

    The loop device of an image goes when it is unmounted. Closed early, it may be mounted or not.
    """
    # Without limits: the program of a FUSE file system begins here, and runs until the unmount.
    arguments = [source, point, "-t", format, "-o", ",".join(options)]
    yield from process.run(_MOUNT, arguments, limits=None)


def unmount(point: str) -> Operation[None]:
    """Unmount what is mounted last on a directory; fails when somebody uses it."""
    yield from process.run(_UMOUNT, [point], limits=_UNMOUNT_LIMITS)
