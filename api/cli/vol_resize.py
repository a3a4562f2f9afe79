"""`volary vol resize`."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from volary.api.cli.secret_file import HELP, read_secret, require_secret
from volary.api.cli.session import Session
from volary.api.cli.volume_document import volume_document
from volary.api.cli.volume_options import Identity, Limit, PoolName, TrustBacking, rate
from volary.api.volume import Volume
from volary.engine.errors import InvalidSpec, VolaryError
from volary.engine.flags import ASYNC, VolumeResize
from volary.engine.size import format_size, parse_size

EXAMPLES = (
    "volary vol resize a.raw 16G",
    "volary vol resize a.raw +2G --allocate",
    "volary vol resize a.raw -2G --shrink     what is in the last 2 GiB is lost",
)


class ResizeCommand(TyperCommand):
    """A command that takes "-2G" for a capacity, and not for an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put what is to be taken off at the end, where no option can be."""
        end = args.index("--") if "--" in args else len(args)
        given, after = args[:end], args[end + 1 :]
        less = [word for word in given if re.match("-[0-9]", word)]
        rest = [word for word in given if word not in less]
        return super().parse_args(ctx, [*rest, "--", *less, *after])


def resize(
    context: typer.Context,
    name: Identity,
    capacity: Annotated[
        str,
        typer.Argument(
            metavar="CAPACITY",
            help="The new size, such as 16G; +2G adds so much, -2G takes so much off.",
        ),
    ],
    *,
    pool: PoolName = None,
    shrink: Annotated[
        bool,
        typer.Option(
            "--shrink",
            help="Allow a smaller size: what is beyond it is lost for good. Nobody asks twice.",
        ),
    ] = False,
    allocate: Annotated[
        bool, typer.Option("--allocate", help="Reserve the space of what is added.")
    ] = False,
    secret_file: Annotated[
        str | None,
        typer.Option(metavar="PATH", help=f"Of an encrypted volume: {HELP}"),
    ] = None,
    trust_backing: TrustBacking = False,
    limit: Limit = None,
) -> None:
    """Give a volume another size.

    No guest may have it open. A growth that is cancelled or fails leaves the volume as it was; a
    shrinkage is done in one step, and cannot be undone. Partitions and file systems in the volume
    stay as they are: make them smaller before, or larger after.
    """
    delta = capacity[:1] in ("+", "-")
    size = parse_size(capacity[1:] if delta else capacity, "CAPACITY")
    bytes_a_second = rate(limit)
    secret = read_secret(secret_file, "--secret-file")
    with Session(context) as session:
        volume = session.volume(name, pool)
        session.start_chain(volume)
        seen = volume.info()
        require_secret(seen, secret, "--secret-file")
        before = seen.capacity
        less = capacity.startswith("-") if delta else size < before
        if less and not shrink:
            wanted = before - size if delta else size
            raise InvalidSpec(
                f"volume {volume.name!r} has {format_size(before)}: what it has beyond "
                f"{format_size(max(0, wanted))} would be lost; add --shrink if that is meant"
            )
        flags = VolumeResize.ALLOCATE if allocate else VolumeResize.NONE
        if delta:
            flags |= VolumeResize.DELTA
        if less:
            flags |= VolumeResize.SHRINK
        session.wait(
            volume.resize(size, flags | ASYNC, secret=secret, trust_backing=trust_backing),
            f"resizing {volume.name}",
            cancelled=lambda _: f"volume {volume.name!r} has {_capacity(volume)}",
            limit=bytes_a_second,
        )
        now = volume.info()
        session.output.result(
            f"Volume {volume.name!r} of pool {volume.pool.name!r} resized: "
            f"{format_size(now.capacity)}, {format_size(before)} before.",
            volume_document(volume.pool, now),
        )


def _capacity(volume: Volume) -> str:
    """Return what it has now: a shrinkage that has begun is carried to its end."""
    try:
        return format_size(volume.info().capacity)
    except VolaryError as error:
        return f"a size that cannot be told: {error}"
