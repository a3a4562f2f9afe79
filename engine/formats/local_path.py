"""Which names of backing files are paths."""

from __future__ import annotations


def local_path(name: str) -> str | None:
    """Return the path that QEMU would open for the name of a backing file; None when it is none.

    A name with a colon before its first slash is none: such as "nbd://host/export" or "json:{…}",
    or else "file:" and a path, which is that path. A relative path is relative to the directory of
    the image that has the name, but "file:" and a relative path is None: QEMU takes it as relative
    to its own working directory, and so it is another file for each who opens it.
    """
    protocol, colon, rest = name.partition(":")
    if not colon or "/" in protocol:
        return name or None
    if protocol == "file" and rest.startswith("/"):
        return rest
    return None
