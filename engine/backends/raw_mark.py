"""A mark on files that are raw images, so that no guest can make them anything else.

Whoever writes to a raw disk can write another format's header into it, with a backing file of his
choice. What a pool makes raw therefore bears an extended attribute that says so, and how large it
is: a guest changes neither. A file of another size was put there by the host, and is recognised
by what is in it. Where there are no such attributes, the pool remembers it for as long as it is
active.
"""

from __future__ import annotations

import os

from volary.engine.backends.attributes import NO_ATTRIBUTES
from volary.engine.linux import set_attribute

_NAME = b"user.volary.raw"


def mark(fd: int, *sizes: int) -> None:
    """Mark the file as a raw image of any of these sizes, in bytes, where that is possible: of two
    while it goes from one to the other, which a crash may interrupt.
    """
    try:
        set_attribute(fd, _NAME, b" ".join([b"%d" % size for size in sizes]))
    except OSError as error:
        if error.errno not in NO_ATTRIBUTES:
            raise


def is_marked(fd: int, size: int) -> bool:
    """Say whether the file bears the mark of a raw image of `size` bytes."""
    try:
        return b"%d" % size in os.getxattr(fd, _NAME).split()
    except OSError:  # it bears none, or can bear none
        return False


def unmark(fd: int) -> None:
    """Take the mark off."""
    try:
        os.removexattr(fd, _NAME)
    except OSError as error:
        if error.errno not in NO_ATTRIBUTES:
            raise
