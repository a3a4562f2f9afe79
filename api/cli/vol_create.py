"""`volary vol create`."""

from __future__ import annotations

import os
import re
import time
from functools import partial
from typing import Annotated

import typer

from volary.api.cli.document_file import naming, read_document
from volary.api.cli.new_volume import (
    KNOWN_FORMATS,
    ON_A_DISK,
    AllocationOption,
    ClusterSizeOption,
    CompatOption,
    EncryptOption,
    ExtendedL2Option,
    GroupOption,
    LazyRefcountsOption,
    ModeOption,
    NoCowOption,
    OwnerOption,
    PreallocOption,
    SecretFileOption,
    encryption,
    volume_spec,
)
from volary.api.cli.progress_bar import duration
from volary.api.cli.secret_file import read_secret
from volary.api.cli.session import Session
from volary.api.cli.volume_document import volume_document
from volary.api.cli.volume_options import Limit, PoolName, rate
from volary.api.pool import Pool
from volary.api.volume import Volume
from volary.engine.errors import InvalidSpec
from volary.engine.flags import ASYNC
from volary.engine.formats.local_path import local_path
from volary.engine.image_info import BackingFile
from volary.engine.secret import Secret
from volary.engine.size import format_size
from volary.engine.volume_spec import VolumeSpec

EXAMPLES = (
    "volary vol create a.raw 8G                    sparse: takes space as it is written",
    "volary vol create b.raw 8G --prealloc falloc  all of it reserved",
    "volary vol create c.raw 8G --prealloc full    all of it written with zeros",
    "volary vol create d.qcow2 8G --format qcow2 --cluster-size 2M --prealloc metadata",
    "volary vol create e.qcow2 --backing d.qcow2   an overlay: what is written to it stays in it",
    "volary vol create f.qcow2 8G --format qcow2 --encrypt --secret-file disk.key",
    "volary vol create --xml volume.xml --pool images",
)

_KEY = re.compile(r"(?P<pool>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})/(?P<volume>[^/]+)")


def create(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="What to call it; in a disk pool the partition's name, such as sdc1.",
            show_default=False,
        ),
    ] = None,
    capacity: Annotated[
        str | None,
        typer.Argument(
            metavar="CAPACITY",
            help="The size that a guest sees, such as 8G; with --backing, that of the backing "
            "file if not given.",
            show_default=False,
        ),
    ] = None,
    *,
    pool: PoolName = None,
    xml: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="libvirt's document of the volume, instead of NAME, CAPACITY and the options "
            "that say what it is; - for standard input.",
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(
            metavar="FORMAT",
            help=f"{KNOWN_FORMATS}; raw if not given, whatever NAME "
            f"ends with; qcow2 with --backing. {ON_A_DISK}",
        ),
    ] = None,
    backing: Annotated[
        str | None,
        typer.Option(
            metavar="VOLUME",
            help="What it is to be an overlay of: the name of a volume of the same pool, the "
            "path or the key of one of any pool. A relative path begins at the pool's directory.",
        ),
    ] = None,
    backing_format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="The backing file's format; looked at if not given."),
    ] = None,
    allocation: AllocationOption = None,
    prealloc: PreallocOption = None,
    compat: CompatOption = None,
    cluster_size: ClusterSizeOption = None,
    lazy_refcounts: LazyRefcountsOption = None,
    extended_l2: ExtendedL2Option = None,
    encrypt: EncryptOption = False,
    secret_file: SecretFileOption = None,
    nocow: NoCowOption = False,
    mode: ModeOption = None,
    owner: OwnerOption = None,
    group: GroupOption = None,
    limit: Limit = None,
) -> None:
    """Create a volume.

    When this returns, the volume is on disk, name and content. When it is cancelled or fails,
    nothing of it is left.
    """
    bytes_a_second = rate(limit)
    if xml is not None:
        _require_alone(context)
        secret = read_secret(secret_file, "--secret-file", new=True)
        # Before there is a session: what writes the document to a pipe may need the engine.
        document = read_document(xml)
        with Session(context) as session, naming(xml):
            _create(session, pool, document, bytes_a_second, secret)
        return
    if name is None:
        raise typer.BadParameter("give one, or --xml", ctx=context, param_hint="NAME")
    if capacity is None and backing is None:
        raise typer.BadParameter(
            "give one, such as 8G; only an overlay takes that of its backing file",
            ctx=context,
            param_hint="CAPACITY",
        )
    if backing is None and backing_format is not None:
        raise InvalidSpec("--backing-format, and no backing file; add --backing")
    secret = read_secret(secret_file, "--secret-file", new=True)
    below = None if backing is None else BackingFile(_in_header(backing), backing_format)
    format = format or ("raw" if below is None else "qcow2")  # noqa: A001
    describe = partial(
        volume_spec,
        name,
        capacity=capacity,
        format=format,
        allocation=allocation,
        prealloc=prealloc,
        compat=compat,
        cluster_size=cluster_size,
        lazy_refcounts=lazy_refcounts,
        extended_l2=extended_l2,
        encryption=encryption(encrypt=encrypt, format=format, secret=secret),
        nocow=nocow,
        mode=mode,
        owner=owner,
        group=group,
    )
    spec = describe(backing=below)  # what cannot be is refused before anything is begun
    with Session(context) as session:
        if below is not None:
            spec = describe(backing=_find(session, session.pool_in_use(pool), below))
        _create(session, pool, spec, bytes_a_second)


def _require_alone(context: typer.Context) -> None:
    """Raise `BadParameter` when something says beside --xml what the volume is."""
    beside = {"xml", "pool", "secret_file", "limit"}
    for name, value in context.params.items():
        if name not in beside and value not in (None, False):
            raise typer.BadParameter(
                "the document says what the volume is: leave NAME, CAPACITY and the options "
                f"about it out, such as {name.replace('_', '-')}",
                ctx=context,
                param_hint="--xml",
            )


def _create(
    session: Session,
    pool: str | None,
    spec: VolumeSpec | str,
    bytes_a_second: int | None,
    secret: Secret | None = None,
) -> None:
    """Create the volume, and say what it is."""
    where = session.pool_in_use(pool)
    began = time.monotonic()
    job = where.create_volume(spec, ASYNC, secret=secret)
    volume = session.wait(
        job,
        f"creating {job.volume}",
        cancelled=f"nothing of volume {job.volume!r} is left",
        limit=bytes_a_second,
    )
    made = volume.info()
    session.output.result(
        f"Volume {made.name!r} created in pool {where.name!r}: {made.format}, "
        f"{format_size(made.capacity)}, "
        f"{format_size(made.allocation)} on disk, {duration(time.monotonic() - began)}.",
        volume_document(where, made),
    )


def _in_header(backing: str) -> str:
    """Return the name that an overlay's header is to have for its backing file.

    A volume's name can look as if it began with a protocol ("a:b"), which a path cannot.
    """
    if "/" not in backing and ":" in backing and not backing.startswith("json:"):
        return f"./{backing}"
    return backing


def _find(session: Session, where: Pool, backing: BackingFile) -> BackingFile:
    """Return the backing file by a path, and start the pools that it and its own chain are in.

    where: the pool of the overlay.
    """
    key = _KEY.fullmatch(backing.name)
    if key is not None:
        pool = session.pool(key["pool"])
        name = key["volume"] if pool == where else Volume(pool, key["volume"]).path
        backing = BackingFile(_in_header(name), backing.format)
    path = local_path(backing.name)
    if path is not None:
        folder, name = os.path.split(os.path.normpath(os.path.join(where.target, path)))
        found = session.pool_at(folder)
        if found is not None:
            session.ensure_active(found)
            session.start_chain(Volume(found, name))
    return backing
