"""A volume that is open for reading."""

from __future__ import annotations

import os

from volary.engine.volume_info import VolumeInfo


class OpenVolume:
    """A volume that is open for reading: it stays readable whatever becomes of its name.

    fd: the descriptor, at whatever position: read with pread(2).
    path: where it is, for messages.
    info: what it was when it was opened.
    """

    def __init__(self, fd: int, path: str, info: VolumeInfo) -> None:
        self.fd = fd
        self.path = path
        self.info = info

    def close(self) -> None:
        """Close it; closing twice does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
