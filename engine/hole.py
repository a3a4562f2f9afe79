"""A hole: bytes that read as zeros and are stored nowhere."""

from __future__ import annotations

from typing import NamedTuple


class Hole(NamedTuple):
    """A stretch of zeros among the chunks of an upload or a download, which takes no space.

    length: in bytes.
    """

    length: int
