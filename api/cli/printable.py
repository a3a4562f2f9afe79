"""Names from elsewhere, made safe to show."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return the text with what a terminal does not show as an escape: what an image's header
    names is its maker's word, and may hold control sequences or lines that look like ours.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
