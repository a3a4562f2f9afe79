"""Writing libvirt's volume document, as libvirt 9.0.0 writes it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Final
from uuid import UUID

from volary.engine.permissions_document import write_permissions
from volary.engine.volume_definition import (
    EncryptionDefinition,
    ImageDefinition,
    VolumeDefinition,
)
from volary.engine.volume_details import Inode, VolumeExtent
from volary.engine.xml_document import escape

OWN_NAMESPACE: Final = "urn:volary:volume:1"
"""Of the element that holds what libvirt's document has no place for; libvirt passes it over."""

OWN_ATTRIBUTES: Final = (
    *("preallocation", "backingFormat"),
    *("cipher", "cipherMode", "cipherHash", "ivgen", "ivgenHash"),
)
"""What that element can have."""

_SECOND = 10**9
_UNSIGNED = 2**64 - 1


def write(volume: VolumeDefinition) -> str:
    """Return the document."""
    key = "" if volume.key is None else f"  <key>{escape(volume.key)}</key>\n"
    source = "".join(_source(volume.extents))
    sizes = "".join(
        f"  <{tag} unit='bytes'>{size}</{tag}>\n"
        for tag, size in (
            ("capacity", volume.capacity),
            ("allocation", volume.allocation),
            ("physical", volume.physical or None),
        )
        if size is not None
    )
    backing = "" if volume.backing is None else _image("backingStore", volume.backing)
    return (
        f"<volume type='{volume.type}'>\n  <name>{escape(volume.name)}</name>\n"
        f"{key}{source}{sizes}"
        f"{_image('target', volume.target)}{backing}{_own(volume)}</volume>\n"
    )


def _source(extents: tuple[VolumeExtent, ...]) -> Iterator[str]:
    if not extents:
        return
    yield "  <source>\n"
    for device, parts in groupby(extents, attrgetter("device")):
        yield f"    <device path='{escape(device)}'>\n"
        for part in parts:
            yield f"      <extent start='{part.start}' end='{part.end}'/>\n"
        yield "    </device>\n"
    yield "  </source>\n"


def _image(tag: str, image: ImageDefinition) -> str:
    path = "" if image.path is None else f"    <path>{escape(image.path)}</path>\n"
    format_ = "" if image.format is None else f"    <format type='{image.format}'/>\n"
    permissions = write_permissions(image.permissions, "    ")
    times = "" if image.times is None else _timestamps(image.times)
    encryption = "" if image.encryption is None else "".join(_encryption(image.encryption))
    compat = "" if image.compat is None else f"    <compat>{escape(image.compat)}</compat>\n"
    nocow = "    <nocow/>\n" if image.nocow else ""
    cluster_size = image.cluster_size
    clusters = f"    <clusterSize unit='B'>{cluster_size}</clusterSize>\n" if cluster_size else ""
    return (
        f"  <{tag}>\n{path}{format_}{permissions}{times}{encryption}{compat}{nocow}"
        f"{clusters}{_features(image.features)}  </{tag}>\n"
    )


def _timestamps(inode: Inode) -> str:
    born = "" if inode.born is None else f"      <btime>{_time(inode.born)}</btime>\n"
    return (
        "    <timestamps>\n"
        f"      <atime>{_time(inode.accessed)}</atime>\n"
        f"      <mtime>{_time(inode.modified)}</mtime>\n"
        f"      <ctime>{_time(inode.changed)}</ctime>\n"
        f"{born}"
        "    </timestamps>\n"
    )


def _time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, _SECOND)
    whole = seconds & _UNSIGNED  # a time_t as the unsigned long long that libvirt writes
    return f"{whole}.{rest:09}" if rest else f"{whole}"


def _encryption(how: EncryptionDefinition) -> Iterator[str]:
    engine = "" if how.engine is None else f" engine='{how.engine}'"
    yield f"    <encryption format='{how.format}'{engine}>\n"
    for secret in how.secrets:
        way = "uuid" if isinstance(secret, UUID) else "usage"
        yield f"      <secret type='passphrase' {way}='{escape(str(secret))}'/>\n"
    if how.cipher is not None:
        mode, hash_ = _attribute("mode", how.mode), _attribute("hash", how.hash)
        yield (
            f"      <cipher name='{escape(how.cipher)}' size='{how.cipher_size}'{mode}{hash_}/>\n"
        )
        if how.ivgen is not None:
            hash_ = _attribute("hash", how.ivgen_hash)
            yield f"      <ivgen name='{escape(how.ivgen)}'{hash_}/>\n"
    yield "    </encryption>\n"


def _attribute(name: str, value: str | None) -> str:
    return "" if value is None else f" {name}='{escape(value)}'"


def _features(features: tuple[str, ...] | None) -> str:
    if features is None:
        return ""
    if not features:
        return "    <features/>\n"
    inner = "".join(f"      <{feature}/>\n" for feature in features)
    return f"    <features>\n{inner}    </features>\n"


def _own(volume: VolumeDefinition) -> str:
    if not volume.own:
        return ""
    attributes = "".join(_attribute(name, value) for name, value in volume.own.items())
    return f"  <volary:volume xmlns:volary='{OWN_NAMESPACE}'{attributes}/>\n"
