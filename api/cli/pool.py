"""`volary pool`."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from volary.api.cli import pool_define
from volary.api.cli.command_group import command_group, epilog
from volary.api.cli.pool_build import Build, NoOverwrite, Overwrite, build_flags
from volary.api.cli.pool_document import contents, definition, pool_document
from volary.api.cli.session import Session, is_unmounted
from volary.api.pool import Pool
from volary.engine.errors import VolaryError
from volary.engine.flags import ASYNC, PoolBuild, PoolList, PoolXml
from volary.engine.pool_type import POOL_TYPES
from volary.engine.size import format_size

app = command_group(
    "Pools: directories whose files are volumes, file systems to be mounted, disks whose "
    "partitions are volumes.\n\n"
    "A pool is active while a process uses it. No daemon runs yet, so each command starts the "
    "pools that it needs, and they are inactive again when it ends; what is mounted stays so "
    "until `stop`.",
    "volary pool define images --target /srv/images --build",
    "volary pool list",
    "volary pool info images",
    "volary pool dumpxml images",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The pool's name or UUID.")]

_NO_DAEMON = "No daemon runs: it is active only while a command uses it, and started by that."


app.command(epilog=epilog(*pool_define.EXAMPLES))(pool_define.define)


@app.command("list")
def list_pools(
    context: typer.Context,
    *,
    type: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option(metavar="TYPE", help="Only pools of this type.")
    ] = None,
    autostart: Annotated[
        bool | None,
        typer.Option(
            "--autostart/--no-autostart",
            help="Only those that start with every engine, or that do not.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """List the pools, with their space."""
    wanted = PoolList.NONE
    if type is not None:
        if type not in POOL_TYPES:
            known = ", ".join(POOL_TYPES)
            raise typer.BadParameter(
                f"unknown type {type!r}; known: {known}", ctx=context, param_hint="--type"
            )
        wanted |= PoolList[type.upper().replace("-", "_")]
    if autostart is not None:
        wanted |= PoolList.AUTOSTART if autostart else PoolList.NO_AUTOSTART
    with Session(context) as session:
        found = session.connection.pools(wanted)
        problems = session.start_all([pool for pool in found if not is_unmounted(pool)])
        pools = [pool_document(pool, problems.get(pool)) for pool in found]
        if session.output.as_json:
            session.output.document(pools)
            return
        session.output.table(
            ("NAME", "TYPE", "STATE", "AUTOSTART", "VOLUMES", "CAPACITY", "AVAILABLE", "TARGET"),
            [
                (
                    pool["name"],
                    pool["type"],
                    pool["state"],
                    _yes(pool["autostart"]),
                    "-" if pool["volumes"] is None else str(pool["volumes"]),
                    _size(pool["capacity"]),
                    _size(pool["available"]),
                    pool["target"] or "-",
                )
                for pool in pools
            ],
            right="VOLUMES CAPACITY AVAILABLE",
        )
        for pool in pools:
            if pool["problem"] is not None:
                session.output.note(pool["problem"])


@app.command()
def info(context: typer.Context, name: Name) -> None:
    """Show a pool."""
    with Session(context) as session:
        pool = session.pool(name)
        facts = pool_document(pool, _try_to_start(session, pool))
        if session.output.as_json:
            session.output.document(facts)
            return
        session.output.facts(
            [
                ("Name", facts["name"]),
                ("UUID", facts["uuid"]),
                ("Type", facts["type"]),
                ("State", facts["state"]),
                ("Persistent", _yes(facts["persistent"])),
                ("Autostart", _yes(facts["autostart"])),
                ("Target", facts["target"] or "-"),
                *([("Source", ", ".join(facts["devices"]))] if facts["devices"] else []),
                *([("Source format", facts["format"])] if facts["format"] else []),
                ("Volumes", "-" if facts["volumes"] is None else str(facts["volumes"])),
                ("Capacity", _size(facts["capacity"])),
                ("Allocation", _size(facts["allocation"])),
                ("Available", _size(facts["available"])),
            ]
        )
        if facts["problem"] is not None:
            session.output.note(facts["problem"])
        elif is_unmounted(pool):
            session.output.note(f"pool {pool.name!r} is not mounted: `start` mounts it")


@app.command()
def build(
    context: typer.Context,
    name: Name,
    *,
    overwrite: Overwrite = False,
    no_overwrite: NoOverwrite = False,
) -> None:
    """Make what a pool needs to be started.

    That is its directory, with its mode, owner and group. The device of a file system or disk
    pool is formatted with --overwrite or --no-overwrite; a disk without anything on it gets its
    partition table anyway.
    """
    flags = build_flags(build=True, overwrite=overwrite, no_overwrite=no_overwrite)
    with Session(context) as session:
        pool = session.pool(name)
        session.ensure_inactive(pool)
        session.build(pool, flags or PoolBuild.NONE)
        session.output.result(f"Pool {pool.name!r} built.", pool_document(pool))


@app.command()
def start(
    context: typer.Context,
    name: Name,
    *,
    build: Build = False,
    overwrite: Overwrite = False,
    no_overwrite: NoOverwrite = False,
) -> None:
    """See whether a pool starts; a file system is mounted from now on.

    No daemon runs yet that would keep it active: each command starts the pools that it uses.
    """
    flags = build_flags(build=build, overwrite=overwrite, no_overwrite=no_overwrite)
    with Session(context) as session:
        pool = session.pool(name)
        if flags is not None:
            session.ensure_inactive(pool)
            session.build(pool, flags)
        session.ensure_active(pool)
        stays = f"It stays mounted at {pool.target} until `stop`." if pool.type == "fs" else ""
        session.output.result(
            f"Pool {pool.name!r} starts: {contents(pool)}. {stays or _NO_DAEMON}",
            pool_document(pool),
        )


@app.command()
def stop(context: typer.Context, name: Name) -> None:
    """Stop a pool: what was mounted for it is unmounted.

    No daemon runs yet: between two commands no pool is active, and of a directory or a disk
    there is nothing to stop.
    """
    with Session(context) as session:
        pool = session.pool(name)
        if pool.type != "fs" or is_unmounted(pool):
            session.ensure_inactive(pool)
            session.output.result(
                f"Pool {pool.name!r} is not active: there is nothing to stop. {_NO_DAEMON}",
                pool_document(pool),
            )
            return
        session.ensure_active(pool)  # takes over what an earlier command left mounted
        session.wait(
            pool.stop(ASYNC),
            f"stopping pool {pool.name}",
            cancelled=f"pool {pool.name!r} is as it was",
        )
        session.output.result(f"Pool {pool.name!r} stopped.", pool_document(pool))


@app.command()
def refresh(context: typer.Context, name: Name) -> None:
    """Look at what is in a pool anew.

    What a crash left half made is removed.
    """
    with Session(context) as session:
        pool = session.pool(name)
        session.ensure_active(pool)
        session.wait(
            pool.refresh(ASYNC),
            f"refreshing pool {pool.name}",
            cancelled=f"the refresh of pool {pool.name!r}; its volumes are as they were",
        )
        session.output.result(
            f"Pool {pool.name!r} refreshed: {contents(pool)}.", pool_document(pool)
        )


@app.command()
def delete(context: typer.Context, name: Name) -> None:
    """Remove a pool's directory, which must be empty, or a disk's partition table.

    With its table, a disk loses its partitions, and what is in them. Of a file system pool, the
    directory that it is mounted at is removed; the file system stays. The pool stays defined;
    `build` makes what it needs anew.
    """
    with Session(context) as session:
        pool = session.pool(name)
        session.ensure_inactive(pool)
        session.wait(
            pool.delete(ASYNC),
            f"deleting pool {pool.name}",
            cancelled=f"pool {pool.name!r} is not deleted",
        )
        gone = pool.target
        if pool.type == "disk":
            gone = f"the partition table of {definition(pool).source.devices[0].path}"
        session.output.result(f"Pool {pool.name!r} deleted: {gone} is gone.", pool_document(pool))


@app.command()
def undefine(context: typer.Context, name: Name) -> None:
    """Forget a pool; its directory or disk and its volumes stay, and a mount, too."""
    with Session(context) as session:
        pool = session.pool(name)
        session.ensure_inactive(pool)
        before = pool_document(pool)
        pool.undefine()
        rest = _what_stays(before)
        session.output.result(f"Pool {pool.name!r} undefined{rest}.", before)


@app.command()
def autostart(
    context: typer.Context,
    name: Name,
    *,
    disable: Annotated[
        bool, typer.Option("--disable", help="Have it no longer start so.")
    ] = False,
) -> None:
    """Have a pool start with every engine.

    That is for a service that embeds Volary: commands start the pools that they use anyway.
    """
    with Session(context) as session:
        pool = session.pool(name)
        pool.autostart = not disable
        says = "no longer starts" if disable else "starts"
        session.output.result(
            f"Pool {pool.name!r} {says} with every engine on {session.connection.state_dir}.",
            pool_document(pool),
        )


@app.command()
def dumpxml(
    context: typer.Context,
    name: Name,
    *,
    inactive: Annotated[
        bool, typer.Option("--inactive", help="As it is defined; the pool is not started.")
    ] = False,
) -> None:
    """Print a pool as libvirt's XML document."""
    with Session(context) as session:
        pool = session.pool(name)
        if not inactive:
            _try_to_start(session, pool)
        xml = pool.xml(PoolXml.INACTIVE if inactive else PoolXml.NONE)
        session.output.result(xml.rstrip("\n"), {"xml": xml})


@app.command()
def sources(
    context: typer.Context,
    type: Annotated[  # noqa: A002 - the argument's name
        str, typer.Argument(metavar="TYPE", help="fs, disk or another type of pool.")
    ],
) -> None:
    """List what a pool of a type could be made of on this host."""
    with Session(context) as session:
        found = session.wait(
            session.connection.find_sources(type, flags=ASYNC),
            f"looking for what a pool of type {type} could be made of",
            cancelled="nothing was changed",
            keep=False,
        )
        if session.output.as_json:
            session.output.document([asdict(source) for source in found])
            return
        if not found:
            session.output.note(f"nothing on this host could be made a pool of type {type}")
            return
        session.output.table(
            ("SOURCE", "FORMAT"),
            [
                (", ".join(device.path for device in source.devices), source.format or "-")
                for source in found
            ],
            right="",
        )


@app.command()
def capabilities(context: typer.Context) -> None:
    """Print which types of pools there are, as libvirt's XML document."""
    with Session(context) as session:
        xml = session.connection.capabilities()
        session.output.result(xml.rstrip("\n"), {"xml": xml})


def _try_to_start(session: Session, pool: Pool) -> VolaryError | None:
    """Start the pool so that its space is known, unless that would mount something; returns
    what keeps it from starting.
    """
    if is_unmounted(pool):
        return None
    try:
        session.ensure_active(pool)
    except VolaryError as error:
        return error
    return None


def _what_stays(pool: dict[str, Any]) -> str:
    """Return what an undefined pool leaves behind, as the end of a sentence."""
    if pool["type"] == "disk":
        return f"; {', '.join(pool['devices'])} stays as it is"
    target = pool["target"]
    if not target:
        return ""
    if not os.path.lexists(target):
        return f"; {target} is not there"
    if pool["type"] == "fs" and os.path.ismount(os.path.realpath(target)):
        return f"; {target} stays mounted: umount ends that"
    return f"; {target} stays as it is"


def _yes(value: bool) -> str:  # noqa: FBT001 - the value itself is the matter
    return "yes" if value else "no"


def _size(size: int | None) -> str:
    return "-" if size is None else format_size(size)
