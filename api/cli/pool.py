"""`volary pool`."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from volary.api.cli.account import group_id, user_id
from volary.api.cli.command_group import command_group, epilog
from volary.api.cli.session import Session
from volary.api.pool import Pool
from volary.engine.errors import VolaryError
from volary.engine.flags import ASYNC
from volary.engine.pool_spec import PoolSpec
from volary.engine.size import format_size

app = command_group(
    "Pools: directories whose files are volumes.\n\n"
    "A pool is active while a process uses it. No daemon runs yet, so each command starts the "
    "pools that it needs, and they are inactive again when it ends.",
    "volary pool define images --target /srv/images --build",
    "volary pool list",
    "volary pool info images",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The pool's name or UUID.")]
Build = Annotated[bool, typer.Option("--build", help="Make the target directory first.")]

_NO_DAEMON = (
    "No daemon runs: it is active only while a command uses it, and each command starts it itself."
)


@app.command("list")
def list_pools(context: typer.Context) -> None:
    """List the pools, with their space."""
    with Session(context) as session:
        pools = [_document(pool, error) for pool, error in session.start_all().items()]
        if session.output.as_json:
            session.output.document(pools)
            return
        session.output.table(
            ("NAME", "STATE", "AUTOSTART", "VOLUMES", "CAPACITY", "AVAILABLE", "TARGET"),
            [
                (
                    pool["name"],
                    pool["state"],
                    _yes(pool["autostart"]),
                    "-" if pool["volumes"] is None else str(pool["volumes"]),
                    _size(pool["capacity"]),
                    _size(pool["available"]),
                    pool["target"],
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
        facts = _document(pool, _try_to_start(session, pool))
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
                ("Target", facts["target"]),
                ("Volumes", "-" if facts["volumes"] is None else str(facts["volumes"])),
                ("Capacity", _size(facts["capacity"])),
                ("Allocation", _size(facts["allocation"])),
                ("Available", _size(facts["available"])),
            ]
        )
        if facts["problem"] is not None:
            session.output.note(facts["problem"])


@app.command(
    epilog=epilog(
        "volary pool define images --target /srv/images --build --autostart",
        "volary pool define shared --target /srv/shared --mode 0770 --group kvm --build",
    )
)
def define(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    *,
    target: Annotated[
        str, typer.Option(metavar="DIR", help="The directory that its volumes are in.")
    ],
    mode: Annotated[
        str | None, typer.Option(metavar="OCTAL", help="The directory's mode, such as 0711.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option(metavar="USER", help="The directory's owner, name or id.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="GROUP", help="The directory's group, name or id.")
    ] = None,
    uuid: Annotated[
        str | None, typer.Option(metavar="UUID", help="Its UUID; a new one if not given.")
    ] = None,
    build: Build = False,
    start: Annotated[bool, typer.Option("--start", help="See whether it starts.")] = False,
    autostart: Annotated[
        bool, typer.Option("--autostart", help="Have it start with every engine.")
    ] = False,
) -> None:
    """Define a pool: from now on it is known, until `undefine`.

    --mode, --owner and --group are what `build` gives the directory.
    """
    spec = PoolSpec(
        name,
        target=os.path.abspath(target),
        uuid=uuid,
        mode=mode,
        owner=user_id(owner),
        group=group_id(group),
    )
    with Session(context) as session:
        pool = session.connection.define_pool(spec)
        try:
            if build:
                _build(session, pool)
            if start:
                _start(session, pool)
            if autostart:
                pool.autostart = True
        except BaseException:  # all that was asked for, or nothing
            session.ensure_inactive(pool)
            pool.undefine()
            raise
        session.output.result(f"Pool {name!r} defined.", _document(pool, None))


@app.command()
def build(context: typer.Context, name: Name) -> None:
    """Make a pool's directory, with its mode, owner and group."""
    with Session(context) as session:
        pool = session.pool(name)
        session.ensure_inactive(pool)
        _build(session, pool)
        session.output.result(f"Pool {pool.name!r} built.", _document(pool, None))


@app.command()
def start(context: typer.Context, name: Name, *, build: Build = False) -> None:
    """See whether a pool starts.

    No daemon runs yet that would keep it active: each command starts the pools that it uses.
    """
    with Session(context) as session:
        pool = session.pool(name)
        if build:
            session.ensure_inactive(pool)
            _build(session, pool)
        _start(session, pool)
        session.output.result(
            f"Pool {pool.name!r} starts: {_contents(pool)}. {_NO_DAEMON}", _document(pool, None)
        )


@app.command()
def stop(context: typer.Context, name: Name) -> None:
    """Stop a pool.

    No daemon runs yet: between two commands no pool is active, and there is nothing to stop.
    """
    with Session(context) as session:
        pool = session.pool(name)
        session.ensure_inactive(pool)
        session.output.result(
            f"Pool {pool.name!r} is not active: there is nothing to stop. {_NO_DAEMON}",
            _document(pool, None),
        )


@app.command()
def refresh(context: typer.Context, name: Name) -> None:
    """Look at a pool's directory anew.

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
            f"Pool {pool.name!r} refreshed: {_contents(pool)}.", _document(pool, None)
        )


@app.command()
def delete(context: typer.Context, name: Name) -> None:
    """Remove a pool's directory, which must be empty.

    The pool stays defined; `build` makes the directory anew.
    """
    with Session(context) as session:
        pool = session.pool(name)
        session.ensure_inactive(pool)
        session.wait(
            pool.delete(ASYNC),
            f"deleting pool {pool.name}",
            cancelled=f"pool {pool.name!r} is not deleted",
        )
        session.output.result(
            f"Pool {pool.name!r} deleted: {pool.target} is gone.", _document(pool, None)
        )


@app.command()
def undefine(context: typer.Context, name: Name) -> None:
    """Forget a pool; its directory and volumes stay."""
    with Session(context) as session:
        pool = session.pool(name)
        session.ensure_inactive(pool)
        before = _document(pool, None)
        pool.undefine()
        there = os.path.lexists(pool.target)
        rest = "stays as it is" if there else "is not there"
        session.output.result(f"Pool {pool.name!r} undefined; {pool.target} {rest}.", before)


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
            _document(pool, None),
        )


@app.command()
def dumpxml(context: typer.Context, name: Name) -> None:
    """Print a pool as libvirt's XML document."""
    with Session(context) as session:
        pool = session.pool(name)
        _try_to_start(session, pool)
        xml = pool.xml()
        session.output.result(xml.rstrip("\n"), {"xml": xml})


def _build(session: Session, pool: Pool) -> None:
    session.wait(
        pool.build(ASYNC),
        f"building pool {pool.name}",
        cancelled=f"pool {pool.name!r} is not built",
    )


def _start(session: Session, pool: Pool) -> None:
    if not pool.is_active:  # it may have autostart
        session.wait(
            pool.start(ASYNC),
            f"starting pool {pool.name}",
            cancelled=f"pool {pool.name!r} is not started",
        )


def _try_to_start(session: Session, pool: Pool) -> VolaryError | None:
    """Start the pool so that its space is known; returns what keeps it from starting."""
    try:
        session.ensure_active(pool)
    except VolaryError as error:
        return error
    return None


def _document(pool: Pool, problem: VolaryError | None) -> dict[str, Any]:
    """Return a pool for a program: sizes in bytes, None for what only an active pool knows."""
    active = pool.is_active
    space = pool.info()
    return {
        "name": pool.name,
        "uuid": str(pool.uuid),
        "type": pool.type,
        "state": space.state.name.lower(),
        "persistent": pool.is_persistent,
        "autostart": pool.autostart,
        "target": pool.target,
        "volumes": len(pool.volume_infos()) if active else None,
        "capacity": space.capacity if active else None,
        "allocation": space.allocation if active else None,
        "available": space.available if active else None,
        "problem": None if problem is None else str(problem),
    }


def _contents(pool: Pool) -> str:
    count = len(pool.volume_infos())
    free = format_size(pool.info().available)
    return f"{count} {'volume' if count == 1 else 'volumes'}, {free} available"


def _yes(value: bool) -> str:  # noqa: FBT001 - the value itself is the matter
    return "yes" if value else "no"


def _size(size: int | None) -> str:
    return "-" if size is None else format_size(size)
