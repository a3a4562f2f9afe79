"""A volume as libvirt's XML document (https://libvirt.org/formatstorage.html).

What is read, and how it is written, is libvirt 9.0.0's; docs/differences/volume-documents.md says
where it is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from volary.engine.encryption import Encryption
from volary.engine.errors import ConflictingValues, InvalidSpec, UnavailableFeature
from volary.engine.image_info import BackingFile, ImageInfo
from volary.engine.permissions_document import Permissions
from volary.engine.pool_type import POOL_TYPES, PoolType
from volary.engine.volume_definition import (
    NO_PERMISSIONS,
    EncryptionDefinition,
    ImageDefinition,
    VolumeDefinition,
)
from volary.engine.volume_details import Inode, VolumeDetails
from volary.engine.volume_reader import FEATURES, read
from volary.engine.volume_spec import VolumeSpec
from volary.engine.volume_writer import write

_CIPHER: Final = re.compile(r"(.+)-(0|[1-9][0-9]{0,8})", re.ASCII)
"""libvirt gives QEMU a cipher's name, a hyphen and its size."""

_OWN_CIPHER: Final = {
    "cipher": "cipher",
    "cipherMode": "mode",
    "cipherHash": "hash",
    "ivgen": "ivgen",
    "ivgenHash": "ivgen_hash",
}
"""Our own attributes, for what is no cipher of libvirt's document."""

_BACKING_FORMATS: Final = {"ploop": "parallels"}
"""QEMU's name for a format of libvirt's."""

_LIBVIRTS_BACKING_FORMATS: Final = {ours: theirs for theirs, ours in _BACKING_FORMATS.items()}


def read_volume_document(
    document: str | bytes,
    *,
    pool_type: str = "dir",
    capacity_needed: bool = True,
    validate: bool = False,
) -> VolumeSpec:
    """Return the volume that `document` asks for.

    pool_type: that of the pool which it is for: its volumes' formats are its own.
    capacity_needed: whether a volume without a backing file has to have a capacity; a clone need
        not.
    validate: whether to refuse what nobody reads.

    As libvirt takes it, a raw volume without an <allocation> is allocated whole, one of another
    format begins with nothing allocated, and a qcow2 without a <compat> is of version 0.10. Key,
    path and times are read over. A passphrase is in no document: see `Encryption`.

    Raises `InvalidDocument` (`MalformedDocument`, `UnknownValue`, `UnknownUnit`, `TooLarge`,
    `NotInSchema`) for what libvirt cannot read, and `InvalidSpec` (`ConflictingValues`,
    `UnavailableFeature`) for what no volume can be.
    """
    volume = read(document, pool_type, capacity_needed=capacity_needed, validate=validate)
    try:
        return _spec(volume, POOL_TYPES[pool_type])
    except InvalidSpec as error:
        raise type(error)(f"{volume.where}: {error}") from None


def write_volume_document(spec: VolumeSpec) -> str:
    """Return the document that asks for a volume such as `spec`, but for its passphrase.

    What libvirt's document has no place for is in an element of a namespace of Volary's own, which
    libvirt reads over.
    """
    own: dict[str, str] = {}
    allocation = _own_allocation(spec, own)
    backing = spec.backing
    features = tuple(name for name in FEATURES if getattr(spec, name))
    return write(
        VolumeDefinition(
            spec.name,
            type="dir" if spec.format == "dir" else "file",
            capacity=spec.capacity,
            allocation=allocation,
            target=ImageDefinition(
                format="raw" if spec.format == "luks" else spec.format,
                permissions=Permissions(spec.mode, spec.owner, spec.group, spec.label),
                encryption=_definition(spec.encryption, own),
                compat=spec.compat,
                nocow=bool(spec.nocow),
                cluster_size=spec.cluster_size or 0,
                features=features or None,
            ),
            backing=None if backing is None else _backing_definition(backing, own),
            own=own,
        )
    )


def write_volume_details(details: VolumeDetails, *, pool_type: str = "dir") -> str:
    """Return the document of a volume that is there, as `virsh vol-dumpxml` gives it."""
    info = details.info
    image = info.image or ImageInfo(info.format, info.capacity)
    is_dir = info.type == "dir"  # libvirt counts nothing of a directory
    type_ = POOL_TYPES[pool_type]
    has_features = image.compat not in (None, "0.10")
    target = ImageDefinition(
        path=details.path,
        format=_format_name(info.format, type_),
        permissions=_permissions(details.inode),
        times=details.inode,
        encryption=_encryption_of(image),
        compat=image.compat if has_features else None,
        cluster_size=(image.cluster_size or 0) if info.format == "qcow2" else 0,
        features=tuple(n for n in FEATURES if getattr(image, n)) if has_features else None,
    )
    below = details.backing
    return write(
        VolumeDefinition(
            info.name,
            type=info.type,
            key=details.key,
            extents=details.extents,
            capacity=0 if is_dir else info.capacity,
            allocation=0 if is_dir else info.allocation,
            physical=None if is_dir else info.physical,
            target=target,
            backing=None
            if below is None
            else ImageDefinition(
                path=below.path,
                format=_format_name(below.format or "raw", type_),
                permissions=_permissions(below.inode),
                times=below.inode,
            ),
        )
    )


# From a document to a spec.


def _spec(volume: VolumeDefinition, type_: PoolType) -> VolumeSpec:
    target, own = volume.target, volume.own
    format_ = _format_of(target)
    _check(volume, format_)
    qcow2 = format_ == "qcow2"
    permissions = target.permissions
    features = target.features or ()
    return VolumeSpec(
        volume.name,
        format=format_,
        **_amounts(volume, format_, type_),
        backing=_backing(volume.backing, own),
        compat=target.compat or "0.10" if qcow2 else None,  # type: ignore[arg-type]  # it checks
        cluster_size=(target.cluster_size or None) if format_ not in ("raw", "dir") else None,
        lazy_refcounts=(qcow2 and "lazy_refcounts" in features) or None,
        extended_l2=(qcow2 and "extended_l2" in features) or None,
        encryption=_encryption(target.encryption, own) if format_ != "dir" else None,
        nocow=target.nocow or None,
        mode=permissions.mode,
        owner=permissions.owner,
        group=permissions.group,
        label=permissions.label,
    )


def _format_of(target: ImageDefinition) -> str:
    """Return our name of the format: an ISO image is made raw, and libvirt's luks is a raw volume
    that is encrypted.
    """
    format_ = target.format or "raw"
    if format_ not in ("raw", "iso"):
        return format_
    return "raw" if target.encryption is None else "luks"


def _check(volume: VolumeDefinition, format_: str) -> None:
    """Raise what libvirt's creation refuses before it begins, with its code.

    Of what is made without qemu-img, a raw volume and a directory, it looks at nothing else.
    """
    where = f"volume {volume.name!r}"
    target = volume.target
    if format_ in ("raw", "dir"):
        if volume.backing is not None:
            raise UnavailableFeature(
                f"{where}: <backingStore>: a {format_} volume has none; use the format qcow2"
            )
        return
    if format_ != "qcow2" and target.compat is not None:
        part = "<compat>" if target.features is None else "<features>"
        raise ConflictingValues(f"{where}: {part} is for qcow2, and the format is {format_}")
    if target.compat == "0.10" and target.features:
        raise ConflictingValues(
            f"{where}: <{target.features[0]}> needs <compat>1.1</compat>, and it is 0.10"
        )
    if format_ == "luks" and volume.backing is not None:
        raise ConflictingValues(f"{where}: <backingStore>: a raw volume has none; use qcow2")
    how = target.encryption
    if how is None:
        return
    if len(how.secrets) > 1:
        raise InvalidSpec(f"{where}: <encryption> has {len(how.secrets)} secrets; give one")
    if format_ not in ("luks", "qcow2"):
        raise ConflictingValues(
            f"{where}: <encryption>: no {format_} volume can be encrypted; use raw or qcow2"
        )
    if how.format != "luks":
        raise ConflictingValues(
            f"{where}: <encryption format={how.format!r}>: nothing new is encrypted so; use luks"
        )


def _amounts(volume: VolumeDefinition, format_: str, type_: PoolType) -> dict[str, Any]:
    """Return capacity, allocation and preallocation.

    libvirt allocates raw volumes only; a file becomes at least as large as what is allocated.
    """
    capacity, allocation = volume.capacity, volume.allocation
    preallocation = volume.own.get("preallocation")
    if format_ == "raw" and volume.target.format != "iso":
        preallocation = preallocation or ("off" if allocation == 0 else "falloc")
        if capacity is not None and allocation is not None and type_.volume_formats:
            capacity = max(capacity, allocation)
    elif preallocation is None:
        return {"capacity": capacity}
    whole = preallocation in ("falloc", "full")
    return {
        "capacity": capacity,
        "allocation": (allocation or None) if whole else None,
        "preallocation": preallocation,
    }


def _backing(backing: ImageDefinition | None, own: Mapping[str, str]) -> BackingFile | None:
    if backing is None or backing.path is None:
        return None
    format_ = own.get("backingFormat", backing.format) or None
    return BackingFile(backing.path, _BACKING_FORMATS.get(format_ or "", format_))


def _encryption(how: EncryptionDefinition | None, own: Mapping[str, str]) -> Encryption | None:
    if how is None:
        return None
    names: dict[str, str | None] = {
        ours: own[theirs] for theirs, ours in _OWN_CIPHER.items() if theirs in own
    }
    if how.cipher is not None:
        names = {
            "cipher": f"{how.cipher}-{how.cipher_size}",
            "mode": how.mode,
            "hash": how.hash,
            "ivgen": how.ivgen,
            "ivgen_hash": how.ivgen_hash,
        }
    return Encryption(reference=how.secrets[0] if how.secrets else None, **names)


# From a spec to a document.


def _own_allocation(spec: VolumeSpec, own: dict[str, str]) -> int | None:
    """Return the <allocation>, noting in `own` what does not follow from it."""
    way = spec.preallocation
    if way == "full" or (spec.format != "raw" and way != "off"):
        own["preallocation"] = way
    # All of a capacity that is not known yet: no element.
    return None if spec.allocation == 0 and way in ("falloc", "full") else spec.allocation


def _backing_definition(backing: BackingFile, own: dict[str, str]) -> ImageDefinition:
    name = backing.format or ""
    format_ = _LIBVIRTS_BACKING_FORMATS.get(name, name)
    if format_ not in POOL_TYPES["dir"].volume_formats:
        own["backingFormat"] = name
        format_ = "raw"
    return ImageDefinition(path=backing.name, format=format_)


def _definition(how: Encryption | None, own: dict[str, str]) -> EncryptionDefinition | None:
    if how is None:
        return None
    wanted = EncryptionDefinition(
        "luks", secrets=() if how.reference is None else (how.reference,)
    )
    match = _CIPHER.fullmatch(how.cipher or "")
    if match and (how.ivgen is not None or how.ivgen_hash is None):
        return replace(
            wanted,
            cipher=match[1],
            cipher_size=int(match[2]),
            mode=how.mode,
            hash=how.hash,
            ivgen=how.ivgen,
            ivgen_hash=how.ivgen_hash,
        )
    for theirs, ours in _OWN_CIPHER.items():
        value = getattr(how, ours)
        if value is not None:
            own[theirs] = value
    return wanted


# From what is known of a volume to a document.


def _format_name(format_: str, type_: PoolType) -> str | None:
    """Return libvirt's name of a format: raw for what it has no name for."""
    if not type_.volume_formats:
        return None
    return format_ if format_ in type_.volume_formats else "raw"


def _permissions(inode: Inode | None) -> Permissions:
    if inode is None:
        return NO_PERMISSIONS
    return Permissions(inode.mode & 0o777, inode.owner, inode.group, inode.label)


def _encryption_of(image: ImageInfo) -> EncryptionDefinition | None:
    if image.encryption is None:
        return None
    return EncryptionDefinition("luks" if image.encryption == "luks" else "qcow")
