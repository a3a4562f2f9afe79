"""What two pools must hold, told by what was done to them and not by the engine."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MAGIC = b"QFI\xfb"
HEAD = 0x8200
"""Bytes from a file's begin that its format is told by."""


class Key(NamedTuple):
    """A volume: its pool's name and its own."""

    pool: str
    name: str


@dataclass
class Image:
    """What a volume is.

    data: what its guest sees; None of an overlay that is `sound`, which has none of its own.
    marked: whether the pool made it raw, which no guest can change.
    sound: whether its tables are whole; of those that are not, nothing is known but the header.
    """

    format: str
    capacity: int
    data: bytes | None
    backing: Key | None = None
    backing_format: str = ""
    marked: bool = False
    sound: bool = True


def pattern(seed: int, length: int) -> bytes:
    """Return bytes without zeros in a row, other ones for each seed."""
    return random.Random(seed).randbytes(length)


def resized(data: bytes, length: int) -> bytes:
    """Return the data cut off, or with zeros behind it."""
    return data[:length].ljust(length, b"\0")


class Disk:
    """Two pools' directories, and what must be in them."""

    def __init__(self, folder: Path, pools: Iterable[str]) -> None:
        self.folder = folder
        self.targets = {pool: folder / pool for pool in pools}
        self.images: dict[Key, Image] = {}

    def path(self, key: Key) -> Path:
        return self.targets[key.pool] / key.name

    def file(self, key: Key) -> bytes:
        """Return what is in the volume's file."""
        return self.path(key).read_bytes()

    def is_marked(self, key: Key) -> bool:
        """Say whether the volume's file bears the mark that it is raw."""
        try:
            return bool(os.getxattr(self.path(key), "user.volary.raw"))
        except OSError:
            return False

    def chain(self, key: Key) -> list[Key]:
        """Return the volume and all that it is backed by, as far as that is there."""
        found = [key]
        while (image := self.images.get(found[-1])) is not None and image.backing is not None:
            if image.backing in found:
                break
            found.append(image.backing)
        return found

    def is_sound(self, key: Key) -> bool:
        """Say whether one may ask what the volume's guest sees."""
        return all(link not in self.images or self.images[link].sound for link in self.chain(key))

    def seen(self, key: Key, format_: str | None = None) -> bytes | None:
        """Return what a guest sees of a volume; None when a part of its chain is missing, or is
        not what the part above says it is.
        """
        image = self.images.get(key)
        if image is None:
            return None
        if format_ == "raw" and image.format != "raw":
            return self.file(key)
        if format_ is not None and format_ != image.format:
            return None
        if image.backing is None:
            return image.data
        below = self.seen(image.backing, image.backing_format)
        return None if below is None else resized(below, image.capacity)

    def recognise(self, key: Key, *, marked: bool = False) -> None:
        """Take what is in the file for what the volume is, its contents excepted: of a qcow2
        nobody knows what a guest would see of it now.
        """
        before = self.images.get(key)
        data = self.file(key)
        if data[:4] != MAGIC or marked:
            self.images[key] = Image("raw", len(data), data, marked=marked)
            return
        backing_offset, _, _, capacity = struct.unpack(">QIIQ", data[8:32])
        image = self.images[key] = Image("qcow2", capacity, None, sound=False)
        if backing_offset and before is not None:
            image.backing, image.backing_format = before.backing, before.backing_format

    def check(self, key: Key) -> None:
        """Compare what is in the file with what must be."""
        image = self.images[key]
        data = self.file(key)
        if image.format == "raw":
            assert data == image.data, f"{key}: {difference(data, image.data or b'')}"
            assert image.capacity == len(data)
        else:
            assert data[:4] == MAGIC
            assert struct.unpack(">Q", data[24:32]) == (image.capacity,)


def difference(first: bytes, second: bytes) -> str:
    """Say where two contents begin to differ."""
    if len(first) != len(second):
        return f"{len(first)} bytes, and {len(second)}"
    return f"they differ from byte {same_to(first, second)} to {differ_to(first, second)}"


def same_to(first: bytes, second: bytes) -> int:
    """Return how many bytes at their begin are the same."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def differ_to(first: bytes, second: bytes) -> int:
    """Return from where on two contents of one length are the same up to their end."""
    low, high = 0, len(first)
    while low < high:
        middle = (low + high) // 2
        if first[middle:high] == second[middle:high]:
            high = middle
        else:
            low = middle + 1
    return low


def check_half_way(
    before: bytes, wanted: bytes, after: bytes, *, least: int = 0, most: int | None = None
) -> None:
    """Check that a file was overwritten up to some place, and is as it was from there on.

    least, most: between which bytes that place must be.
    """
    length = max(len(before), len(after))
    before, after = before.ljust(length, b"\0"), after.ljust(length, b"\0")
    new, old = same_to(after, wanted), differ_to(after, before)
    assert old <= new, f"neither new nor old from byte {new} to {old}"
    assert new >= least, f"{least} bytes were told to be done, and {new} are"
    if most is not None:
        assert old <= most, f"{most} bytes were told to be done, and {old} are new"
