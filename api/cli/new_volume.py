"""What a volume that is to be made can be told to be: the options, and what they mean."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from volary.api.cli.account import group_id, user_id
from volary.api.cli.secret_file import HELP
from volary.engine.encryption import Encryption
from volary.engine.errors import InvalidSpec
from volary.engine.image_info import BackingFile
from volary.engine.pool_type import PARTITION_FORMATS
from volary.engine.secret import Secret
from volary.engine.volume_spec import FORMATS, VolumeSpec


class Prealloc(StrEnum):
    """How much of a volume is on disk from the start."""

    OFF = "off"
    METADATA = "metadata"
    FALLOC = "falloc"
    FULL = "full"


class Compat(StrEnum):
    """The version of a qcow2."""

    OLD = "0.10"
    NEW = "1.1"


AllocationOption = Annotated[
    str | None,
    typer.Option("--allocation", metavar="SIZE", help="How much is to be on disk from the start."),
]
PreallocOption = Annotated[
    Prealloc | None,
    typer.Option(
        "--prealloc",
        help="How: 'off' leaves the volume sparse, 'metadata' makes a qcow2's tables, "
        "'falloc' reserves the space, 'full' writes it with zeros.",
        show_default=False,
    ),
]
CompatOption = Annotated[
    Compat | None,
    typer.Option(
        "--compat",
        help="A qcow2's version: 0.10 for very old programs, or 1.1 (the default).",
        show_default=False,
    ),
]
ClusterSizeOption = Annotated[
    str | None,
    typer.Option(
        "--cluster-size",
        metavar="SIZE",
        help="The unit that a qcow2 or qed is allocated in, such as 2M; 64K if not given.",
    ),
]
LazyRefcountsOption = Annotated[
    bool | None,
    typer.Option(
        "--lazy-refcounts/--no-lazy-refcounts",
        help="Whether a qcow2 may postpone its reference counts: faster, but it has to be "
        "repaired after a crash.",
        show_default=False,
    ),
]
ExtendedL2Option = Annotated[
    bool | None,
    typer.Option(
        "--extended-l2/--no-extended-l2",
        help="Whether a qcow2's clusters have 32 parts each: less copying above a backing file.",
        show_default=False,
    ),
]
EncryptOption = Annotated[
    bool,
    typer.Option(
        "--encrypt", help="Encrypt it with LUKS (qcow2; the format luks always is encrypted)."
    ),
]
SecretFileOption = Annotated[
    str | None, typer.Option("--secret-file", metavar="PATH", help=f"With --encrypt: {HELP}")
]
NoCowOption = Annotated[
    bool, typer.Option("--nocow", help="On btrfs, write the file in place: no copy on write.")
]
ModeOption = Annotated[
    str | None, typer.Option("--mode", metavar="OCTAL", help="Its mode, such as 0640.")
]
OwnerOption = Annotated[
    str | None, typer.Option("--owner", metavar="USER", help="Its owner, name or id.")
]
GroupOption = Annotated[
    str | None, typer.Option("--group", metavar="GROUP", help="Its group, name or id.")
]

KNOWN_FORMATS = ", ".join(FORMATS)
ON_A_DISK = f"In a disk pool, what a partition is for: {', '.join(PARTITION_FORMATS)}."


def encryption(*, encrypt: bool, format: str, secret: Secret | None) -> Encryption | None:  # noqa: A002 - libvirt's word
    """Return how a volume of that format is to be encrypted, or None."""
    encrypted = encrypt or format == "luks"
    if secret is None:
        if encrypted:
            what = "--encrypt" if encrypt else "a luks volume"
            raise InvalidSpec(f"{what} needs a passphrase; name its file with --secret-file")
        return None
    if not encrypted:
        raise InvalidSpec("--secret-file, and nothing to encrypt with it; add --encrypt")
    return Encryption(secret)


def volume_spec(
    name: str,
    *,
    capacity: str | None,
    format: str,  # noqa: A002 - libvirt's word
    allocation: str | None,
    prealloc: Prealloc | None,
    compat: Compat | None,
    cluster_size: str | None,
    lazy_refcounts: bool | None,
    extended_l2: bool | None,
    encryption: Encryption | None,
    nocow: bool,
    mode: str | None,
    owner: str | None,
    group: str | None,
    backing: BackingFile | None = None,
) -> VolumeSpec:
    """Return what the options say; raises `InvalidSpec` for what cannot be."""
    return VolumeSpec(
        name,
        capacity=capacity,
        format=format,
        allocation=allocation,
        preallocation=None if prealloc is None else prealloc.value,
        backing=backing,
        compat=None if compat is None else compat.value,
        cluster_size=cluster_size,
        lazy_refcounts=lazy_refcounts,
        extended_l2=extended_l2,
        encryption=encryption,
        nocow=nocow or None,
        mode=mode,
        owner=user_id(owner),
        group=group_id(group),
    )
