"""Where a pool's storage comes from."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SourceHost:
    """A host that serves the storage; port: 0 where none is given."""

    name: str
    port: int = 0


@dataclass(frozen=True, slots=True)
class SourceDevice:
    """A block device, an image of one, or the name of a remote target.

    part_separator: whether a "p" stands between the device's name and a partition's number;
        None leaves it to the backend.
    """

    path: str
    part_separator: bool | None = None


@dataclass(frozen=True, slots=True)
class ParentAddress:
    """The PCI address of a SCSI host's parent, which is the same at each boot.

    unique_id: which of the hosts below that address it is, as the kernel numbers them.
    """

    unique_id: int | None = None
    domain: int = 0
    bus: int = 0
    slot: int = 0
    function: int = 0


@dataclass(frozen=True, slots=True)
class ScsiHostAdapter:
    """A SCSI host of this machine, by its name ("host2") or by its parent's address."""

    name: str | None = None
    parent_address: ParentAddress | None = None


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


@dataclass(frozen=True, slots=True)
class SourceAuth:
    """How the pool shows a server who it is.

    type: "chap" (iSCSI) or "ceph" (RBD).
    secret: the secret in the host's keeping, by its UUID or its usage.
    """

    type: str
    username: str
    secret: UUID | str


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
    protocol_version: of NFS.
    """

    hosts: tuple[SourceHost, ...] = ()
    devices: tuple[SourceDevice, ...] = ()
    directory: str | None = None
    adapter: ScsiHostAdapter | FcHostAdapter | None = None
    name: str | None = None
    initiator: str | None = None
    format: str | None = None
    auth: SourceAuth | None = None
    protocol_version: int | None = None
    vendor: str | None = None
    product: str | None = None
