"""A file that holds one of libvirt's XML documents."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from volary.engine.errors import InvalidDocument, InvalidSpec, StorageFailed
from volary.engine.xml_document import LARGEST


def read_document(path: str) -> str:
    """Return the document in a file, or on standard input for "-".

    Raises `StorageFailed` for a file that cannot be read, and `InvalidSpec` for one that is no
    text.
    """
    try:
        if path == "-":
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(LARGEST + 1)
    except OSError as error:
        raise StorageFailed(f"reading {path}: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidSpec(
            f"{path} is no text in UTF-8: byte {error.start} is not of it; convert it with iconv"
        ) from None


@contextmanager
def naming(path: str | None) -> Iterator[None]:
    """Have an error of the document say which file it is in; "-" and None have no name."""
    try:
        yield
    except InvalidDocument as error:
        if path in (None, "-"):
            raise
        raise type(error)(f"{path}: {error}") from None
