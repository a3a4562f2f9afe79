"""What libvirt's volume document says, element for element.

It says more than a `VolumeSpec` can be: a compat of a raw volume, say, which libvirt passes over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from volary.engine.permissions_document import Permissions
from volary.engine.volume_details import Inode, VolumeExtent

NO_PERMISSIONS = Permissions()

# They are not frozen, which would make them four times slower to fill; nobody changes them.


@dataclass(slots=True)
class EncryptionDefinition:
    """An <encryption>.

    secrets: the secrets in the host's keeping, by their UUIDs or their usages.
    cipher, cipher_size, mode, hash: of <cipher>; `cipher` is None without one.
    ivgen, ivgen_hash: of <ivgen>; `ivgen` is None without one.
    """

    format: str
    engine: str | None = None
    secrets: tuple[UUID | str, ...] = ()
    cipher: str | None = None
    cipher_size: int = 0
    mode: str | None = None
    hash: str | None = None
    ivgen: str | None = None
    ivgen_hash: str | None = None


@dataclass(slots=True)
class ImageDefinition:
    """A <target> or a <backingStore>.

    format: libvirt's name; None where volumes have none.
    cluster_size: in bytes; 0 without.
    features: their names; None without a <features>, which may be empty.
    times: the inode that <timestamps> tell of; None without.
    """

    path: str | None = None
    format: str | None = None
    permissions: Permissions = NO_PERMISSIONS
    times: Inode | None = None
    encryption: EncryptionDefinition | None = None
    compat: str | None = None
    nocow: bool = False
    cluster_size: int = 0
    features: tuple[str, ...] | None = None


@dataclass(slots=True)
class VolumeDefinition:
    """A <volume>; sizes in bytes, None where they are not given.

    extents: where it is on the pool's devices.
    own: the attributes of Volary's own element.
    where: where the element stands in the document that it was read from, as "line 1".
    """

    name: str
    type: str = "file"
    key: str | None = None
    capacity: int | None = None
    allocation: int | None = None
    physical: int | None = None
    extents: tuple[VolumeExtent, ...] = ()
    target: ImageDefinition = field(default_factory=ImageDefinition)
    backing: ImageDefinition | None = None
    own: dict[str, str] = field(default_factory=dict)
    where: str = ""
