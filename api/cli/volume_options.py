"""What many of the volume commands take."""

from __future__ import annotations

from typing import Annotated

import typer

from volary.engine.errors import InvalidSpec
from volary.engine.size import parse_size

PoolName = Annotated[
    str | None,
    typer.Option("--pool", "-p", metavar="POOL", help="The pool's name or UUID."),
]
Identity = Annotated[
    str, typer.Argument(metavar="NAME", help="The volume's name in the pool, its path or its key.")
]
Limit = Annotated[
    str | None,
    typer.Option("--limit", metavar="RATE", help="At most so much a second, such as 100MB."),
]
Offset = Annotated[
    str,
    typer.Option(metavar="SIZE", help="Where to begin in the volume's file.", show_default=False),
]
TrustBacking = Annotated[
    bool,
    typer.Option(
        "--trust-backing",
        help="Read what the image says it is backed by, though it was not created here so: "
        "whoever made it could name any volume.",
    ),
]
Length = Annotated[str | None, typer.Option(metavar="SIZE", help="How much; all if not given.")]
SourceLength = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="How much FILE has to hold: more or less is refused. All that it holds if not given.",
    ),
]


def rate(limit: str | None) -> int | None:
    """Return bytes a second, before anything is begun that could not go on at none."""
    if limit is None:
        return None
    found = parse_size(limit.removesuffix("/s"), "--limit")
    if found == 0:
        raise InvalidSpec("--limit: 0 is no rate; give one above it, or none for no limit")
    return found
