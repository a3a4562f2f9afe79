"""Names of pools and volumes, single path components, and other texts that documents hold."""

from __future__ import annotations

from volary.engine.errors import InvalidSpec
from volary.engine.shown import shown

LONGEST = 255
"""Bytes in the longest path component of Linux (NAME_MAX, limits.h)."""

HIDDEN_PREFIX = ".volary-"
"""Begins the names of our own files in a pool's target; no volume has such a name."""


def check_name(name: str, what: str, *, longest: int = LONGEST) -> str:
    """Return `name`, or raise `InvalidSpec` saying why it cannot name a `what`.

    `longest` is in bytes of UTF-8, the encoding that names have on disk.
    """
    problem = name_problem(name, longest=longest)
    if problem is not None:
        raise InvalidSpec(f"{what} name {shown(name)} {problem}")
    return name


def name_problem(name: object, *, longest: int = LONGEST) -> str | None:  # noqa: PLR0911
    """Return what keeps `name` from being a name, or None."""
    if not isinstance(name, str):
        return f"is a {type(name).__name__}; a name is a string"
    if not name:
        return "is empty; give at least one character"
    if name in (".", ".."):
        return "means a directory; give another one"
    if "/" in name:
        return "has a '/'; a name is one path component"
    problem = character_problem(name)
    if problem is not None:
        return problem
    length = len(name.encode())
    if length > longest:
        return f"has {length} bytes; at most {longest} are possible"
    if name.startswith(HIDDEN_PREFIX):
        return f"begins with {HIDDEN_PREFIX!r}, which Volary keeps for itself"
    return None


def check_text(value: object, what: str) -> None:
    """Raise `InvalidSpec` naming `what`, unless `value` is a text that a document can hold."""
    if not isinstance(value, str) or not value:
        raise InvalidSpec(f"{what}: {shown(value)} is no text; give at least one character")
    problem = character_problem(value)
    if problem is not None:
        raise InvalidSpec(f"{what} {shown(value)} {problem}")


def character_problem(text: str) -> str | None:
    """Return which of its characters keeps `text` from being part of a path and of an XML document
    (Char, section 2.2 of XML 1.0), or None.
    """
    if text.isprintable():
        return None
    if any(ord(c) < 32 or ord(c) == 127 for c in text):  # noqa: PLR2004
        return "has a control character such as a newline or NUL; leave it out"
    if any("\ud800" <= c <= "\udfff" for c in text):
        return "has characters that UTF-8 cannot hold; leave them out"
    if "\ufffe" in text or "\uffff" in text:
        return "has U+FFFE or U+FFFF, which XML cannot hold; leave it out"
    return None
