"""`volary vol clone`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

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
from volary.api.cli.secret_file import HELP, read_secret, require_secret
from volary.api.cli.session import Session
from volary.api.cli.volume_document import volume_document
from volary.api.cli.volume_options import Limit, TrustBacking, rate
from volary.api.pool import Pool
from volary.engine.errors import InvalidSpec
from volary.engine.flags import ASYNC, VolumeCreate
from volary.engine.size import format_size
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import FORMATS

EXAMPLES = (
    "volary vol clone a.raw b.raw",
    "volary vol clone a.raw b.raw --reflink              at once, on btrfs and xfs",
    "volary vol clone a.raw b.qcow2 16G --format qcow2   larger, and in another format",
    "volary vol clone /srv/images/a.raw a.raw --to-pool backup",
)


def clone(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="The volume to copy: its name in --pool, its path or its key."
        ),
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the clone.")],
    capacity: Annotated[
        str | None,
        typer.Argument(
            metavar="CAPACITY",
            help="The clone's size, at least the source's, which it has if not given.",
            show_default=False,
        ),
    ] = None,
    *,
    pool: Annotated[
        str | None,
        typer.Option("--pool", "-p", metavar="POOL", help="The source's pool, name or UUID."),
    ] = None,
    to_pool: Annotated[
        str | None,
        typer.Option(metavar="POOL", help="The clone's pool; the source's if not given."),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(
            metavar="FORMAT",
            help=f"{KNOWN_FORMATS}; the source's if not given. {ON_A_DISK}",
        ),
    ] = None,
    reflink: Annotated[
        bool,
        typer.Option(
            "--reflink",
            help="Share the source's blocks or fail (raw volumes, on btrfs and xfs); without it "
            "they are shared where that is possible.",
        ),
    ] = False,
    source_secret_file: Annotated[
        str | None,
        typer.Option(metavar="PATH", help=f"Of an encrypted source: {HELP}"),
    ] = None,
    trust_backing: TrustBacking = False,
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
    """Copy a volume to a new one.

    The clone is of the same pool or another, and has all of the content itself: a source with a
    backing file is copied with what is below it. Of an encrypted source, the clone is encrypted
    only with --encrypt.

    The source can be read meanwhile, and not be written, resized or deleted. When this is
    cancelled or fails, nothing of the clone is left.
    """
    if (source_secret_file, secret_file) == ("-", "-"):
        raise InvalidSpec("standard input has one passphrase: give the other one in a file")
    bytes_a_second = rate(limit)
    source_secret = read_secret(source_secret_file, "--source-secret-file")
    secret = read_secret(secret_file, "--secret-file", new=True)
    with Session(context) as session:
        original = session.volume(source, pool)
        where = original.pool if to_pool is None else session.pool_in_use(to_pool)
        seen = original.info()
        require_secret(seen, source_secret, "--source-secret-file")
        format = format or _same_format(seen, where)  # noqa: A001
        spec = volume_spec(
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
        session.start_chain(original)
        began = time.monotonic()
        volume = session.wait(
            where.clone_volume(
                original,
                spec,
                ASYNC | (VolumeCreate.REFLINK if reflink else VolumeCreate.NONE),
                source_secret=source_secret,
                trust_backing=trust_backing,
            ),
            f"cloning {original.name}",
            cancelled=f"nothing of volume {name!r} is left",
            limit=bytes_a_second,
        )
        made = volume.info()
        if _is_encrypted(seen) and not _is_encrypted(made):
            session.output.note(
                f"the clone {name!r} is not encrypted, although {original.name!r} is; "
                "to have it encrypted, clone it with --encrypt"
            )
        session.output.result(
            f"Volume {original.name!r} of pool {original.pool.name!r} cloned to {name!r} of pool "
            f"{where.name!r}: {made.format}, {format_size(made.capacity)}, "
            f"{format_size(made.allocation)} on disk, {duration(time.monotonic() - began)}.",
            volume_document(where, made),
        )


def _same_format(source: VolumeInfo, where: Pool) -> str:
    """Return the format of a clone whose user names none.

    A partition's says what the partition is for; what is in it is raw anywhere else.
    """
    if source.type == "block":
        return source.format if where.type == "disk" else "raw"
    if source.format not in FORMATS:
        raise InvalidSpec(
            f"volume {source.name!r} is of the format {source.format}, which is read and not "
            f"made; choose the clone's with --format: {KNOWN_FORMATS}"
        )
    return source.format


def _is_encrypted(volume: VolumeInfo) -> bool:
    return volume.image is not None and volume.image.encryption is not None
