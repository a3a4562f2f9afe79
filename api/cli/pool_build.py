"""Options of the commands that build a pool."""

from __future__ import annotations

from typing import Annotated

import typer

from volary.engine.errors import InvalidSpec
from volary.engine.flags import PoolBuild

Build = Annotated[
    bool,
    typer.Option(
        "--build",
        help="Make what it needs first: the directory, the table of a disk with nothing on it. A "
        "file system is made by one of the next two.",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Format the source, whatever is on it: that is lost."),
]
NoOverwrite = Annotated[
    bool,
    typer.Option(
        "--no-overwrite", help="Format the source, unless there is something on it already."
    ),
]


def build_flags(*, build: bool, overwrite: bool, no_overwrite: bool) -> PoolBuild | None:
    """Return how to build, or None not to; either of the two says to build by itself."""
    if overwrite and no_overwrite:
        raise InvalidSpec("--overwrite and --no-overwrite exclude each other; give one")
    if overwrite:
        return PoolBuild.OVERWRITE
    if no_overwrite:
        return PoolBuild.NO_OVERWRITE
    return PoolBuild.NONE if build else None
