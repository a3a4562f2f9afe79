"""Images that qemu-img makes and judges, for the tests of what is done through it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from volary.engine.formats.open_image import OpenImage
from volary.engine.secret import Secret

MIB = 1 << 20


def qemu_img(*arguments: object) -> str:
    """Run qemu-img, and return what it prints."""
    command = ["qemu-img", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def qemu_io(path: Path, format_: str, *commands: str) -> None:
    """Read and write in an image; a pattern that is not there is an error."""
    arguments = [part for command in commands for part in ("-c", command)]
    subprocess.run(
        ["qemu-io", "-f", format_, *arguments, path], check=True, stdout=subprocess.DEVNULL
    )


def described(path: Path) -> dict[str, Any]:
    """Return what qemu-img says of an image."""
    answer: dict[str, Any] = json.loads(qemu_img("info", "--output=json", path))
    return answer


def a_raw(path: Path, capacity: int, *written: tuple[int, int, int]) -> Path:
    """Make a raw file with (offset, length, byte) written to it."""
    with path.open("wb") as file:
        file.truncate(capacity)
        for offset, length, byte in written:
            file.seek(offset)
            file.write(bytes([byte]) * length)
    return path


SECRET = b"a key"


def a_luks(path: Path) -> Path:
    """Make an empty luks image of 8 MiB that `SECRET` opens."""
    path.write_bytes(_encrypted("luks", ""))
    return path


def an_encrypted_qcow2(path: Path) -> Path:
    """Make a qcow2 of 8 MiB that `SECRET` opens, whose clusters are there already."""
    path.write_bytes(_encrypted("qcow2", "encrypt."))
    return path


@cache
def _encrypted(format_: str, prefix: str) -> bytes:
    """Return one for all tests: making it takes a second or two."""
    with TemporaryDirectory() as directory:
        return _encrypt(Path(directory), format_, prefix)


def _encrypt(directory: Path, format_: str, prefix: str) -> bytes:
    key = directory / "key"
    key.write_bytes(SECRET)
    path = directory / "image"
    # A key that is derived quickly.
    options = f"{prefix}key-secret=k,{prefix}iter-time=10"
    if format_ == "qcow2":
        options += ",encrypt.format=luks,preallocation=metadata"
    create = ["qemu-img", "create", "-q", "--object", f"secret,id=k,file={key}", "-f", format_]
    # QEMU 7.2 cannot always measure how fast the CPU is; it can sooner or later.
    while subprocess.run(
        [*create, "-o", options, path, str(8 * MIB)], check=False, stderr=subprocess.DEVNULL
    ).returncode:
        pass
    return path.read_bytes()


@contextmanager
def opened(
    path: Path,
    format_: str,
    capacity: int,
    *,
    backing: OpenImage | None = None,
    secret: bytes | None = None,
    flags: int = os.O_RDWR | os.O_CREAT,
) -> Iterator[OpenImage]:
    """Open an image."""
    fd = os.open(path, flags, 0o600)
    try:
        yield OpenImage(fd, format_, capacity, path.name, backing, Secret.of(secret))
    finally:
        os.close(fd)
