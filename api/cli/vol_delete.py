"""`volary vol delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from volary.api.cli.exit_status import status_of
from volary.api.cli.session import Session
from volary.api.cli.volume_options import Limit, PoolName, rate
from volary.api.volume import Volume
from volary.engine.errors import VolaryError
from volary.engine.flags import ASYNC, VolumeDelete
from volary.engine.progress import Progress
from volary.engine.size import format_size

EXAMPLES = ("volary vol delete a.raw b.raw", "volary vol delete a.raw --zeroed")


def delete(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Volumes: names, paths or keys.")
    ],
    pool: PoolName = None,
    *,
    zeroed: Annotated[
        bool,
        typer.Option(
            "--zeroed",
            help="Write zeros over the content first. Cancelled, that is not undone: the volume "
            "is still there, and a part of its content is lost.",
        ),
    ] = False,
    limit: Limit = None,
) -> None:
    """Delete volumes. Nobody asks twice.

    One that cannot be deleted keeps no other one from it; the exit status is that of the first.
    """
    bytes_a_second = rate(limit)
    with Session(context) as session:
        deleted: list[str] = []
        failures: list[VolaryError] = []
        for name in names:
            try:
                volume = session.volume(name, pool)
                _delete(session, volume, zeroed=zeroed, limit=bytes_a_second)
            except VolaryError as error:
                failures.append(error)
                session.output.error(error)
                continue
            deleted.append(volume.name)
            if not session.output.as_json:
                session.output.result(
                    f"Volume {volume.name!r} deleted from pool {volume.pool.name!r}.", None
                )
        if session.output.as_json:
            session.output.document({"deleted": deleted})
        if failures:
            raise typer.Exit(status_of(failures[0]))


def _delete(session: Session, volume: Volume, *, zeroed: bool, limit: int | None) -> None:
    def cancelled(at: Progress) -> str:
        there = f"volume {volume.name!r} is not deleted"
        if not at.done:
            return there
        return f"{there}, but at least {format_size(at.done)} of its content are zeros now"

    flags = VolumeDelete.ZEROED if zeroed else VolumeDelete.NONE
    session.wait(
        volume.delete(flags | ASYNC), f"deleting {volume.name}", cancelled=cancelled, limit=limit
    )
