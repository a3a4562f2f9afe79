"""Where a pool's storage comes from.

Each part checks itself, and raises `InvalidSpec` for what cannot be meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from volary.engine.errors import InvalidSpec
from volary.engine.names import check_text
from volary.engine.pool_type import POOL_TYPES, PoolType
from volary.engine.shown import shown

AUTH_TYPES: Final = ("chap", "ceph")

MADE_TARGETS: Final = {"logical": "/dev", "zfs": "/dev/zvol"}
"""Where the kernel's drivers put the volumes of a group; libvirt takes no other target."""

_SOURCE_PARTS: Final = {
    "host": "hosts",
    "device": "devices",
    "dir": "directory",
    "adapter": "adapter",
    "name": "name",
    "initiator": "initiator",
}
"""`PoolType.source`'s names of a source's parts, and `PoolSource`'s."""

_OPTIONAL: Final = {name: frozenset[str]() for name in POOL_TYPES} | {
    "logical": frozenset({"device"}),
    "zfs": frozenset({"device"}),
    "iscsi": frozenset({"device", "initiator"}),
    "iscsi-direct": frozenset({"device"}),
}
"""Parts that the sources of a type have, but need not."""

_LARGEST_PORT = 65535
_LARGEST_INT = 2**31 - 1
_LARGEST_UNSIGNED = 2**32 - 1
_LARGEST_ADDRESS: Final = {"domain": _LARGEST_UNSIGNED, "bus": 0xFF, "slot": 0x1F, "function": 7}
"""The PCI specification's, but for the domain, which Linux counts in more bits."""

_TEXTS: Final = (
    *("directory", "name", "initiator", "format", "protocol_version", "vendor", "product"),
)
_WWN: Final = re.compile(r"(0x)?[0-9a-fA-F]{16}")


def check_sequence(values: object, what: str) -> tuple[Any, ...]:
    """Return what a sequence holds; raises `InvalidSpec` naming `what` for what is none."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidSpec(f"{what}: {shown(values)} is no sequence; give a list or a tuple")
    return tuple(values)


def check_number(value: object, largest: int, what: str) -> None:
    """Raise `InvalidSpec` naming `what`, unless `value` is within 0 and `largest`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        raise InvalidSpec(f"{what}: {shown(value)} is not within 0 and {largest}")


def check_choice(value: object, what: str) -> None:
    """Raise `InvalidSpec` naming `what`, unless `value` is True, False or None."""
    if value is not None and not isinstance(value, bool):
        raise InvalidSpec(
            f"{what}: {shown(value)} is neither True nor False; leave it out for neither"
        )


def _check_wwn(value: object, what: str) -> None:
    if not isinstance(value, str) or not _WWN.fullmatch(value):
        raise InvalidSpec(
            f"{what}: {shown(value)} is no World Wide Name; give 16 hexadecimal digits"
        )


@dataclass(frozen=True, slots=True)
class SourceHost:
    """A host that serves the storage; port: 0 where none is given."""

    name: str
    port: int = 0

    def __post_init__(self) -> None:
        check_text(self.name, "source host")
        check_number(self.port, _LARGEST_PORT, f"source host {shown(self.name)}: port")


@dataclass(frozen=True, slots=True)
class SourceDevice:
    """A block device, an image of one, or the name of a remote target.

    part_separator: whether a "p" stands between the device's name and a partition's number;
        None leaves it to the backend.
    """

    path: str
    part_separator: bool | None = None

    def __post_init__(self) -> None:
        check_text(self.path, "source device")
        check_choice(self.part_separator, f"source device {shown(self.path)}: part_separator")


@dataclass(frozen=True, slots=True)
class ParentAddress:
    """The PCI address of a SCSI host's parent, which is the same at each boot.

    unique_id: which of the hosts below that address it is, as the kernel numbers them.
    """

    unique_id: int
    domain: int = 0
    bus: int = 0
    slot: int = 0
    function: int = 0

    def __post_init__(self) -> None:
        check_number(self.unique_id, _LARGEST_INT, "adapter: unique_id of its parent address")
        for part, largest in _LARGEST_ADDRESS.items():
            check_number(getattr(self, part), largest, f"adapter: {part} of its parent address")


@dataclass(frozen=True, slots=True)
class ScsiHostAdapter:
    """A SCSI host of this machine, by its name ("host2") or by its parent's address."""

    name: str | None = None
    parent_address: ParentAddress | None = None

    def __post_init__(self) -> None:
        if (self.name is None) == (self.parent_address is None):
            raise InvalidSpec("adapter: give either its name or its parent's address")
        if self.name is not None:
            check_text(self.name, "adapter: name")
        elif not isinstance(self.parent_address, ParentAddress):
            raise InvalidSpec(f"adapter: {self.parent_address!r} is no ParentAddress")


@dataclass(frozen=True, slots=True)
class FcHostAdapter:
    """A virtual Fibre Channel host, by its World Wide Node and Port Names.

    parent, parent_wwnn and parent_wwpn, parent_fabric_wwn: ways to say which host it is made on.
    managed: whether it goes when the pool is stopped; None leaves it to the backend.
    """

    wwnn: str
    wwpn: str
    parent: str | None = None
    parent_wwnn: str | None = None
    parent_wwpn: str | None = None
    parent_fabric_wwn: str | None = None
    managed: bool | None = None

    def __post_init__(self) -> None:
        _check_wwn(self.wwnn, "adapter: wwnn")
        _check_wwn(self.wwpn, "adapter: wwpn")
        for what in ("parent_wwnn", "parent_wwpn", "parent_fabric_wwn"):
            if getattr(self, what) is not None:
                _check_wwn(getattr(self, what), f"adapter: {what}")
        if (self.parent_wwnn is None) != (self.parent_wwpn is None):
            raise InvalidSpec("adapter: parent_wwnn and parent_wwpn go together; give both")
        if self.parent is not None:
            check_text(self.parent, "adapter: parent")
        check_choice(self.managed, "adapter: managed")


@dataclass(frozen=True, slots=True)
class SourceAuth:
    """How the pool shows a server who it is.

    type: "chap" (iSCSI) or "ceph" (RBD).
    secret: the secret in the host's keeping, by its UUID or its usage.
    secret_type: what kind of secret that is, in the words of who wrote the definition.
    """

    type: str
    username: str
    secret: UUID | str
    secret_type: str | None = None

    def __post_init__(self) -> None:
        if self.type not in AUTH_TYPES:
            raise InvalidSpec(
                f"auth: unknown type {shown(self.type)}; known: {', '.join(AUTH_TYPES)}"
            )
        check_text(self.username, "auth: username")
        if not isinstance(self.secret, UUID):
            check_text(self.secret, "auth: usage of the secret")
        if self.secret_type is not None:
            check_text(self.secret_type, "auth: type of the secret")


@dataclass(frozen=True, slots=True)
class PoolSource:
    """Where a pool's storage comes from; which parts a pool's type has, `POOL_TYPES` says.

    hosts, devices: in the order in which they are to be tried or joined.
    directory: the directory on the host.
    adapter: the SCSI host.
    name: the volume group, RADOS pool and so on.
    initiator: the iSCSI qualified name that this host goes by.
    format: what it is formatted as; None where there is nothing to choose.
    auth, vendor, product: any type may have them.
    protocol_version: of NFS, such as "4.1".
    """

    hosts: tuple[SourceHost, ...] = ()
    devices: tuple[SourceDevice, ...] = ()
    directory: str | None = None
    adapter: ScsiHostAdapter | FcHostAdapter | None = None
    name: str | None = None
    initiator: str | None = None
    format: str | None = None
    auth: SourceAuth | None = None
    protocol_version: str | None = None
    vendor: str | None = None
    product: str | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        for what, kind in (("hosts", SourceHost), ("devices", SourceDevice)):
            put(self, what, parts := check_sequence(getattr(self, what), f"source: {what}"))
            for part in parts:
                if not isinstance(part, kind):
                    raise InvalidSpec(f"source: {part!r} is no {kind.__name__}")
        for what in _TEXTS:
            if getattr(self, what) is not None:
                check_text(getattr(self, what), f"source: {what}")
        if self.directory is not None:
            put(self, "directory", tidy_path(self.directory))
        if not isinstance(self.adapter, ScsiHostAdapter | FcHostAdapter | None):
            raise InvalidSpec(f"source: {self.adapter!r} is no adapter")
        if not isinstance(self.auth, SourceAuth | None):
            raise InvalidSpec(f"source: {self.auth!r} is no SourceAuth")


def tidy_path(path: str) -> str:
    """Return a path as libvirt keeps it: without slashes that say nothing, but with its ".."."""
    # POSIX lets two slashes begin something else; so does libvirt.
    begin = "//" if re.match("//(?!/)", path) else "/" if path.startswith("/") else ""
    return begin + "/".join(part for part in path.split("/") if part)


def complete_source(source: PoolSource, type_: PoolType, pool: str) -> PoolSource:
    """Return the source of a pool with what it has if nothing is said."""
    if source.format is None and type_.formats:
        source = replace(source, format=type_.default_format)
    if source.name is None and "name" in type_.source and type_.name != "rbd":
        source = replace(source, name=pool)
    if source.directory is None and type_.name == "gluster":
        source = replace(source, directory="/")
    return source


def check_source(source: PoolSource, type_: PoolType, where: str) -> None:
    """Refuse a source that has what pools of its type have not, or lacks what they must have."""
    for part, name in _SOURCE_PARTS.items():
        given = bool(getattr(source, name))
        if given and part not in type_.source:
            raise InvalidSpec(
                f"{where}: source: {name} is not for type {type_.name!r}; it has "
                + (", ".join(map(_SOURCE_PARTS.__getitem__, type_.source)) or "no source")
            )
        if not given and part in type_.source and part not in _OPTIONAL[type_.name]:
            raise InvalidSpec(f"{where}: type {type_.name!r} needs a source with {name}")
    formats = (*type_.formats, *type_.added_formats)
    if source.format not in formats and (source.format is not None or formats):
        raise InvalidSpec(
            f"{where}: source: unknown format {shown(source.format)}; known: "
            + (", ".join(formats) or "none for this type")
        )
    if source.protocol_version is not None and not takes_protocol(source.format, type_):
        raise InvalidSpec(
            f"{where}: source: format {shown(source.format)} has no protocol_version"
        )
    if type_.name in MADE_TARGETS and {".", ".."} & set(f"{source.name}".split("/")):
        raise InvalidSpec(f"{where}: source: name {shown(source.name)} leads out of its group")


def takes_protocol(format_: str | None, type_: PoolType) -> bool:
    """Return whether a source of this format may have a protocol's version.

    libvirt takes one for "auto" and "nfs". It goes by the number of the format, and so takes one
    for the first two formats of any type.
    """
    return not type_.formats or format_ in type_.formats[:2]
