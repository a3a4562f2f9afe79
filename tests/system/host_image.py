"""Images that somebody puts into a pool's directory, without the pool."""

from __future__ import annotations

import os
from pathlib import Path

import volary
from volary import BackingFile, VolumeSpec
from volary.engine.formats import qcow2

MIB = 1 << 20


def put_qcow2(path: Path, backing: BackingFile | None = None, *, capacity: int = MIB) -> bytes:
    """Write a qcow2 image to the file, which may be there, and return it."""
    spec = VolumeSpec(path.name, capacity=capacity, format="qcow2", backing=backing)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        for step in qcow2.create(fd, spec):
            assert step is not None
    finally:
        os.close(fd)
    return path.read_bytes()


def qcow2_image(folder: Path, backing: BackingFile | None = None) -> bytes:
    """Return the file of a qcow2 image, of which nothing is left in the folder."""
    path = folder / "x.qcow2"
    try:
        return put_qcow2(path, backing)
    finally:
        path.unlink()


def contents(volume: volary.Volume) -> bytes:
    """Return what is in the volume's file."""
    return Path(volume.path).read_bytes()
