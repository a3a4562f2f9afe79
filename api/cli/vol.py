"""`volary vol`."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from volary.api.cli.account import group_id, user_id
from volary.api.cli.command_group import command_group, epilog
from volary.api.cli.exit_status import status_of
from volary.api.cli.progress_bar import duration
from volary.api.cli.session import Session
from volary.api.pool import Pool
from volary.api.volume import Volume
from volary.engine.errors import InvalidSpec, VolaryError
from volary.engine.flags import ASYNC
from volary.engine.size import format_size, parse_size
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec

app = command_group(
    "Volumes: the disk images of a pool.\n\n"
    "Without --pool, the pool is 'default', which is made at its first use. "
    "Sizes are bytes, or such as 8G, 500MB or '8 GiB'.",
    "volary vol create a.raw 8G",
    "volary vol create b.raw 8G --prealloc full --pool images",
    "volary vol list",
    "volary vol delete a.raw b.raw",
)


class Prealloc(StrEnum):
    """How much of a volume is on disk from the start."""

    OFF = "off"
    FALLOC = "falloc"
    FULL = "full"


PoolName = Annotated[
    str | None,
    typer.Option("--pool", "-p", metavar="POOL", help="The pool's name or UUID."),
]
Identity = Annotated[
    str, typer.Argument(metavar="NAME", help="The volume's name in the pool, its path or its key.")
]


@app.command(
    epilog=epilog(
        "volary vol create a.raw 8G                    sparse: takes space as it is written",
        "volary vol create b.raw 8G --prealloc falloc  all of it reserved",
        "volary vol create c.raw 8G --prealloc full    all of it written with zeros",
        "volary vol create d.raw 8G --prealloc full --limit 100MB",
    )
)
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    capacity: Annotated[
        str, typer.Argument(metavar="CAPACITY", help="The size that a guest sees, such as 8G.")
    ],
    *,
    pool: PoolName = None,
    allocation: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="How much is to be on disk from the start."),
    ] = None,
    prealloc: Annotated[
        Prealloc | None,
        typer.Option(
            help="How: 'off' leaves the volume sparse, 'falloc' reserves the space, "
            "'full' writes it with zeros.",
            show_default=False,
        ),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(metavar="OCTAL", help="Its mode, such as 0640.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="USER", help="Its owner, name or id.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="GROUP", help="Its group, name or id.")
    ] = None,
    limit: Annotated[
        str | None, typer.Option(metavar="RATE", help="At most so much a second, such as 100MB.")
    ] = None,
) -> None:
    """Create a volume.

    When this returns, the volume is on disk, name and content. When it is cancelled or fails,
    nothing of it is left.
    """
    spec = VolumeSpec(
        name,
        capacity=capacity,
        allocation=allocation,
        preallocation=None if prealloc is None else prealloc.value,
        mode=mode,
        owner=user_id(owner),
        group=group_id(group),
    )
    rate = None if limit is None else _rate(limit)
    with Session(context) as session:
        where = session.pool_in_use(pool)
        began = time.monotonic()
        job = where.create_volume(spec, ASYNC)
        if rate is not None:
            job.limit(rate)
        volume = session.wait(
            job, f"creating {name}", cancelled=f"nothing of volume {name!r} is left"
        )
        made = volume.info()
        session.output.result(
            f"Volume {name!r} created in pool {where.name!r}: {format_size(made.capacity)}, "
            f"{format_size(made.allocation)} on disk, {duration(time.monotonic() - began)}.",
            _document(where, made),
        )


@app.command("list")
def list_volumes(context: typer.Context, pool: PoolName = None) -> None:
    """List the volumes of a pool."""
    with Session(context) as session:
        where = session.pool_in_use(pool)
        found = sorted(where.volume_infos(), key=lambda volume: volume.name)
        if session.output.as_json:
            session.output.document([_document(where, volume) for volume in found])
            return
        session.output.table(
            ("NAME", "FORMAT", "CAPACITY", "ALLOCATION", "PATH"),
            [
                (
                    volume.name,
                    volume.format,
                    format_size(volume.capacity),
                    format_size(volume.allocation),
                    Volume(where, volume.name).path,
                )
                for volume in found
            ],
            right="CAPACITY ALLOCATION",
        )


@app.command()
def info(context: typer.Context, name: Identity, pool: PoolName = None) -> None:
    """Show a volume."""
    with Session(context) as session:
        volume = session.volume(name, pool)
        found = _document(volume.pool, volume.info())
        if session.output.as_json:
            session.output.document(found)
            return
        session.output.facts(
            [
                ("Name", found["name"]),
                ("Pool", found["pool"]),
                ("Key", found["key"]),
                ("Path", found["path"]),
                ("Type", found["type"]),
                ("Format", found["format"]),
                ("Capacity", format_size(found["capacity"])),
                ("Allocation", format_size(found["allocation"])),
                ("Physical", format_size(found["physical"])),
            ]
        )


@app.command()
def path(context: typer.Context, name: Identity, pool: PoolName = None) -> None:
    """Print where a volume is, for a hypervisor."""
    with Session(context) as session:
        volume = session.volume(name, pool)
        session.output.result(volume.path, {"path": volume.path})


@app.command()
def key(context: typer.Context, name: Identity, pool: PoolName = None) -> None:
    """Print a volume's key, which is unique in the world."""
    with Session(context) as session:
        volume = session.volume(name, pool)
        session.output.result(volume.key, {"key": volume.key})


@app.command()
def delete(
    context: typer.Context,
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Volumes: names, paths or keys.")
    ],
    pool: PoolName = None,
) -> None:
    """Delete volumes.

    One that cannot be deleted keeps no other one from it; the exit status is that of the first.
    """
    with Session(context) as session:
        deleted: list[str] = []
        failures: list[VolaryError] = []
        for name in names:
            try:
                volume = session.volume(name, pool)
                session.wait(
                    volume.delete(ASYNC),
                    f"deleting {name}",
                    cancelled=f"volume {name!r} is not deleted",
                )
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


def _rate(limit: str) -> int:
    """Return bytes a second, before anything is begun that could not go on at none."""
    rate = parse_size(limit.removesuffix("/s"), "--limit")
    if rate == 0:
        raise InvalidSpec("--limit: 0 is no rate; give one above it, or none for no limit")
    return rate


def _document(pool: Pool, volume: VolumeInfo) -> dict[str, Any]:
    """Return a volume for a program; sizes in bytes."""
    named = Volume(pool, volume.name)
    return {
        "name": volume.name,
        "pool": pool.name,
        "key": named.key,
        "path": named.path,
        "type": volume.type,
        "format": volume.format,
        "capacity": volume.capacity,
        "allocation": volume.allocation,
        "physical": volume.physical,
    }
