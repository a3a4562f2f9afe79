"""An opened image with those below it, as QEMU's programs take it."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from volary.engine.errors import Unsupported, VolumeUnreadable
from volary.engine.formats.secret_file import open_secret
from volary.engine.image_info import ImageInfo
from volary.engine.secret import Secret

# What QEMU calls the driver of each format that can be read through it.
_DRIVERS = {"iso": "raw", "ploop": "parallels"} | {
    name: name
    for name in (
        *("raw", "qcow", "qcow2", "qed", "vmdk", "vdi", "vpc", "vhdx", "luks"),
        *("bochs", "cloop", "dmg", "parallels"),
    )
}


@dataclass(frozen=True, slots=True)
class OpenImage:
    """An open file that is to be read, or written, as an image of this format.

    QEMU opens the file anew, through /proc, so that the file's mode has to let this process do so;
    the descriptor stays the caller's, and must stay open while an operation uses it.

    fd: the descriptor.
    format: as `ImageInfo.format` has it; not what the header says, if that is not the same.
    capacity: bytes that the guest sees.
    name: what errors call it.
    backing: the image below, opened, too; None when there is none, whatever the header says.
    secret: the passphrase that opens it; None when it is not encrypted.
    """

    fd: int
    format: str
    capacity: int
    name: str = "image"
    backing: OpenImage | None = None
    secret: Secret | None = None

    @classmethod
    def of(
        cls,
        fd: int,
        info: ImageInfo,
        *,
        name: str = "image",
        backing: OpenImage | None = None,
        secret: Secret | None = None,
    ) -> Self:
        """Return the image whose header says `info`, or refuse what must not be handed to QEMU.

        Raises `VolumeUnreadable` for a header that cannot be believed, for an image that has its
        data in another file (QEMU would open that by the name in the header), for an overlay
        without its backing image and an encrypted image without its secret; `Unsupported` for a
        format that QEMU does not know.
        """
        if info.problem is not None:
            raise VolumeUnreadable(f"{name}: {info.problem}")
        if info.data_file is not None:
            raise VolumeUnreadable(
                f"{name} has its data in another file, {info.data_file!r}, which is not opened "
                "for what a header says; convert it to an image of one file first"
            )
        if info.backing is not None and backing is None:
            raise VolumeUnreadable(f"{name}: its backing file {info.backing.name!r} is not open")
        if info.encryption is not None and secret is None:
            raise VolumeUnreadable(f"{name} is encrypted; give its secret")
        if info.format not in _DRIVERS:
            raise Unsupported(f"{name} has the format {info.format}, which QEMU does not read")
        return cls(fd, info.format, info.capacity, name, backing, secret)

    @property
    def driver(self) -> str:
        """What QEMU calls its format."""
        return _DRIVERS[self.format]

    def chain(self) -> Iterator[OpenImage]:
        """Give the image and all below it."""
        image: OpenImage | None = self
        while image is not None:
            yield image
            image = image.backing


class Arguments:
    """The part of a command line that opened images make up, and the descriptors behind it.

    Every node of every chain is given by its driver and its descriptor, and that there is none
    below, too: so no header has anything opened. Secrets are in memory files and never on the
    command line.
    """

    def __init__(self, undo: ExitStack) -> None:
        self._undo = undo
        self._names: dict[str, str] = {}
        self.objects: list[str] = []
        self.fds: list[int] = []

    def file(self, image: OpenImage, *, keep_space: bool = False) -> str:
        """Return the argument that stands for the image.

        keep_space: whether what it has on disk stays there when zeros are written to it.
        """
        node = self._node(image)
        if keep_space:
            node["discard"] = "ignore"
        argument = "json:" + json.dumps(node, separators=(",", ":"))
        self._names[argument] = image.name
        return argument

    def path(self, fd: int, name: str) -> str:
        """Return the path of an open file."""
        self.fds.append(fd)
        path = f"/proc/self/fd/{fd}"
        self._names[path] = name
        return path

    def secret(self, secret: Secret) -> str:
        """Return the id of an object that holds a secret."""
        fd = open_secret(secret)
        self._undo.callback(os.close, fd)
        self.fds.append(fd)
        name = f"secret{len(self.objects) // 2}"
        self.objects += ["--object", f"secret,id={name},file=/proc/self/fd/{fd}"]
        return name

    def named(self, words: str) -> str:
        """Return what a program said, with the images' names in place of their arguments."""
        for argument in sorted(self._names, key=len, reverse=True):
            words = words.replace(argument, self._names[argument])
        return words

    def _node(self, image: OpenImage) -> dict[str, Any]:
        block = stat.S_ISBLK(os.fstat(image.fd).st_mode)
        node: dict[str, Any] = {
            "driver": image.driver,
            "file": {
                "driver": "host_device" if block else "file",
                "filename": self.path(image.fd, image.name),
            },
            "backing": None if image.backing is None else self._node(image.backing),
        }
        if image.secret is not None:
            key = {"key-secret": self.secret(image.secret)}
            node |= key if image.driver == "luks" else {"encrypt": key}
        return node
