"""A mark on overlays that Volary made, so that nobody else chooses what they are backed by.

A header names a backing file, and whoever reads the overlay reads that, too. Who uploads an image
writes its header, and may name a volume of somebody else. What a pool makes an overlay of, its
caller asked for: such a file bears an extended attribute with the name. Where there are no such
attributes, the pool remembers it for as long as it is active.
"""

from __future__ import annotations

import os

from volary.engine.backends.attributes import NO_ATTRIBUTES
from volary.engine.image_info import BackingFile

_NAME = "user.volary.backing"


def mark(fd: int, backing: BackingFile) -> None:
    """Mark the file as an overlay of `backing`, where that is possible."""
    try:
        os.setxattr(fd, _NAME, os.fsencode(backing.name))
    except OSError as error:
        if error.errno not in NO_ATTRIBUTES:
            raise


def is_marked(fd: int, backing: BackingFile) -> bool:
    """Say whether the file bears the mark of an overlay of `backing`."""
    try:
        return os.getxattr(fd, _NAME) == os.fsencode(backing.name)
    except OSError:  # it bears none, or can bear none
        return False
