"""A backing chain drawn as a tree, as tree(1) does."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from volary.api.cli.printable import printable
from volary.engine.backing_chain import ChainLink
from volary.engine.size import format_size

_BRANCH, _ASCII_BRANCH = "└── ", "`-- "


def draw_chain(chain: Sequence[ChainLink]) -> str:
    """Return one line an image, each one below the one that it backs.

    The lines are drawn with what standard output can show.
    """
    branch = _branch()
    lines = []
    for depth, link in enumerate(chain):
        stem = "" if depth == 0 else " " * len(branch) * (depth - 1) + branch
        lines.append(f"{stem}{_label(link)}")
        if link.problem is not None:
            lines.append(f"{' ' * len(stem)}! {printable(link.problem)}")
    return "\n".join(lines)


def _branch() -> str:
    try:
        _BRANCH.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return _ASCII_BRANCH
    return _BRANCH


def _label(link: ChainLink) -> str:
    """Return the image's name, and what is known of it."""
    known = [link.format or "format unknown"]
    if link.info is not None:
        known += [format_size(link.info.capacity), f"{format_size(link.info.allocation)} on disk"]
    if link.pool is not None:
        known.append(f"pool {link.pool!r}")
    return f"{printable(link.volume or link.name)} ({printable(', '.join(known))})"
