"""`volary pool define`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from volary.api.cli.account import group_id, user_id
from volary.api.cli.document_file import naming, read_document
from volary.api.cli.pool_build import Build, NoOverwrite, Overwrite, build_flags
from volary.api.cli.pool_document import pool_document
from volary.api.cli.session import Session
from volary.engine.errors import InvalidSpec
from volary.engine.pool_source import PoolSource, SourceDevice
from volary.engine.pool_spec import PoolSpec
from volary.engine.pool_type import POOL_TYPES

EXAMPLES = (
    "volary pool define images --target /srv/images --build --autostart",
    "volary pool define shared --target /srv/shared --mode 0770 --group kvm --build",
    "volary pool define fast --type fs --source /dev/sdb1 --target /srv/fast --build",
    "volary pool define xfs --type fs --source /dev/sdb2 --format xfs --target /x --no-overwrite",
    "volary pool define parts --type disk --source /dev/sdc --format gpt --build",
    "volary pool define --xml pool.xml",
)

_PARTITIONS = "/dev"
"""Where the kernel has the nodes of a disk's partitions."""


def define(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="What to call it.", show_default=False),
    ] = None,
    *,
    xml: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="libvirt's document of a pool of any type, instead of NAME and the options that "
            "say what the pool is; - for standard input.",
        ),
    ] = None,
    type: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(
            metavar="TYPE",
            help="dir: a directory; fs: a file system to be mounted; disk: a disk's partitions. "
            "dir if not given; other types by --xml.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="The directory that its volumes are in, or that it is mounted at; of a disk "
            "pool /dev, if not given.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="The block device or image that it is made of."),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="What the device is formatted as: ext4, xfs, vfat …; gpt or dos for a disk.",
        ),
    ] = None,
    mount_options: Annotated[
        str | None, typer.Option(metavar="OPTIONS", help="What mount takes after -o.")
    ] = None,
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
    overwrite: Overwrite = False,
    no_overwrite: NoOverwrite = False,
    start: Annotated[bool, typer.Option("--start", help="See whether it starts.")] = False,
    autostart: Annotated[
        bool, typer.Option("--autostart", help="Have it start with every engine.")
    ] = False,
) -> None:
    """Define a pool: from now on it is known, until `undefine`.

    With both the name and the UUID of a pool that is defined already, its definition is replaced.
    --mode, --owner and --group are what `build` gives the directory.
    """
    given = (name, type, target, source, format, mount_options, mode, owner, group, uuid)
    flags = build_flags(build=build, overwrite=overwrite, no_overwrite=no_overwrite)
    if xml is not None:
        if any(value is not None for value in given):
            raise typer.BadParameter(
                "the document says what the pool is: leave NAME and the options about it out",
                ctx=context,
                param_hint="--xml",
            )
        what: PoolSpec | str = read_document(xml)
    else:
        if name is None:
            raise typer.BadParameter("give one, or --xml", ctx=context, param_hint="NAME")
        what = _spec(
            name,
            type=type or "dir",
            target=target,
            source=source,
            format=format,
            uuid=uuid,
            mode=mode,
            owner=user_id(owner),
            group=group_id(group),
            mount_options=mount_options,
        )
    with Session(context) as session:
        known = {pool.uuid for pool in session.connection.pools()}
        with naming(xml):
            pool = session.connection.define_pool(what)
        try:
            if flags is not None:
                session.build(pool, flags)
            if start:
                session.ensure_active(pool)
            if autostart:
                pool.autostart = True
        except BaseException:  # all that was asked for, or nothing
            if pool.uuid not in known:
                session.ensure_inactive(pool)
                pool.undefine()
            raise
        session.output.result(f"Pool {pool.name!r} defined.", pool_document(pool))


def _spec(
    name: str,
    *,
    type: str,  # noqa: A002 - libvirt's word
    target: str | None,
    source: str | None,
    format: str | None,  # noqa: A002 - libvirt's word
    uuid: str | None,
    mode: str | None,
    owner: int | None,
    group: int | None,
    mount_options: str | None,
) -> PoolSpec:
    if type in POOL_TYPES and type not in ("dir", "fs", "disk"):
        raise InvalidSpec(
            f"pool {name!r}: what a pool of type {type!r} is made of is said by a document: --xml"
        )
    if type == "dir" and (source is not None or format is not None):
        raise InvalidSpec(
            f"pool {name!r}: --source and --format are for fs and disk pools, and this is a "
            "directory; add --type, or leave them out"
        )
    if type in ("fs", "disk") and source is None:
        raise InvalidSpec(
            f"pool {name!r} has no source; say with --source which device it is made of"
        )
    if target is None:
        if type != "disk":
            raise InvalidSpec(
                f"pool {name!r} has no target; say with --target "
                + ("where it is to be mounted" if type == "fs" else "which directory it is")
            )
        target = _PARTITIONS
    devices = () if source is None else (SourceDevice(os.path.abspath(source)),)
    return PoolSpec(
        name,
        type=type,
        target=os.path.abspath(target),
        source=PoolSource(devices=devices, format=format),
        uuid=uuid,
        mode=mode,
        owner=owner,
        group=group,
        mount_options=() if mount_options is None else mount_options.split(","),
    )
