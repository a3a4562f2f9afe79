"""Reading libvirt's volume document, as libvirt 9.0.0 reads it."""

from __future__ import annotations

import re
from typing import Final, TypeAlias
from uuid import UUID

from lxml import etree

from volary.engine.errors import InvalidDocument, TooLarge, UnknownUnit, UnknownValue
from volary.engine.permissions_document import read_permissions
from volary.engine.pool_type import POOL_TYPES, PoolType
from volary.engine.shown import shown
from volary.engine.size import LARGEST, unit_factor
from volary.engine.uuid_text import parse_uuid
from volary.engine.volume_definition import (
    EncryptionDefinition,
    ImageDefinition,
    VolumeDefinition,
)
from volary.engine.volume_schema import validate_volume
from volary.engine.volume_writer import OWN_ATTRIBUTES, OWN_NAMESPACE
from volary.engine.xml_document import at, attribute, local_name, parse, string_value, to_integer

_TYPES: Final = ("file", "block", "dir", "network", "netdir", "ploop")
_ENCRYPTIONS: Final = ("default", "qcow", "luks", "luks2")
_ENGINES: Final = ("qemu", "librbd")
FEATURES: Final = ("lazy_refcounts", "extended_l2")
"""Features of a qcow2, in libvirt's order."""

_JOINED: Final = {
    "format": "type",
    **dict.fromkeys(("capacity", "allocation", "clusterSize"), "unit"),
}
"""Attributes that libvirt reads by an XPath, which passes over an element without it."""

_LARGEST_UNSIGNED = 2**64 - 1

_COMPAT: Final = re.compile(
    r"[ \t\n\v\f\r]*[+-]?([0-9]{1,64})\.[ \t\n\v\f\r]*[+-]?([0-9]{1,64})", re.ASCII
)

_Parts: TypeAlias = dict[str, etree._Element]  # noqa: SLF001 - lxml's only name for it


def read(
    document: str | bytes, pool_type: str, *, capacity_needed: bool, validate: bool
) -> VolumeDefinition:
    """Return what the document says; raises `InvalidDocument` for one that libvirt refuses.

    What is wrong is looked for in libvirt's order, so that of two wrong things the same is told.
    """
    root = parse(document, "volume")
    if validate:
        validate_volume(root)
    type_ = POOL_TYPES[pool_type]
    parts, target, backing_parts = _gather(root)
    name = _text(parts, "name")
    if name is None:
        raise InvalidDocument(f"{at(root)}: <volume> has no <name>; give it one")
    kind = root.get("type") or "file"
    if kind not in _TYPES:
        raise UnknownValue(
            f"{at(root)}: <volume> has the unknown type {shown(kind)}; known: {', '.join(_TYPES)}"
        )
    backing = _backing(backing_parts, type_)
    capacity = _size(parts, "capacity", LARGEST)
    if capacity is None and capacity_needed and backing is None:
        raise InvalidDocument(
            f"{at(root)}: <volume> has no <capacity>; give it one, such as "
            "<capacity unit='GiB'>8</capacity>"
        )
    return VolumeDefinition(
        name,
        type=kind,
        key=_text(parts, "key"),
        capacity=capacity,
        allocation=_size(parts, "allocation", LARGEST),
        target=_target(target, type_),
        backing=backing,
        own=_own(parts),
        where=at(root),
    )


def _gather(root: etree._Element) -> tuple[_Parts, _Parts, _Parts]:
    """Return the first of each element of the volume, its target and its backing file, in one
    pass: several times as fast as to look for each.
    """
    parts: _Parts = {}
    target: _Parts = {}
    backing: _Parts = {}
    inner = {"target": target, "backingStore": backing}
    for element in root:
        tag = element.tag
        if tag in inner:
            found = inner[tag]
            for child in element:
                if found.setdefault(child.tag, child) is not child:
                    _join(found[child.tag], child)
        if parts.setdefault(tag, element) is not element:
            _join(parts[tag], element)
    return parts, target, backing


def _join(first: etree._Element, other: etree._Element) -> None:
    """Give the first element of a name what it lacks and another one has, where libvirt takes the
    first attribute, or the children, of them all.
    """
    if first.tag == "features":
        first.extend(other)
    name = _JOINED.get(first.tag)
    if name is not None and first.get(name) is None and (value := other.get(name)) is not None:
        first.set(name, value)


def _text(parts: _Parts, tag: str) -> str | None:
    element = parts.get(tag)
    return None if element is None else string_value(element) or None


def _size(parts: _Parts, tag: str, largest: int) -> int | None:
    """Return a size in bytes (virScaleInteger), or None where none is given."""
    element = parts.get(tag)
    value = "" if element is None else string_value(element)
    if element is None or not value:
        return None
    number = None if "-" in value else to_integer(value)
    if number is None or number > _LARGEST_UNSIGNED:
        raise InvalidDocument(
            f"{at(element)}: <{tag}> holds {shown(value)}, which is no whole number; "
            "give one, and its unit as an attribute: unit='GiB'"
        )
    unit = element.get("unit") or "bytes"
    factor = unit_factor(unit)
    if factor is None:
        raise UnknownUnit(
            f"{at(element)}: <{tag}> has the unknown unit {shown(unit)}; units are "
            "bytes, B, K, M, G, T, P, E, KiB to EiB and KB to EB"
        )
    if number * factor > largest:
        raise TooLarge(
            f"{at(element)}: <{tag}> is {number} {unit}, which is more than {largest} bytes"
        )
    return number * factor


def _target(parts: _Parts, type_: PoolType) -> ImageDefinition:
    format_ = _format(parts, type_)
    permissions = read_permissions(parts.get("permissions"))
    encryption = parts.get("encryption")
    how = None if encryption is None else _encryption(encryption)
    compat = _compat(parts)
    clusters = _size(parts, "clusterSize", _LARGEST_UNSIGNED) or 0
    features = _features(parts)
    return ImageDefinition(
        path=_text(parts, "path"),
        format=format_,
        permissions=permissions,
        encryption=how,
        # Features are of a qcow2 of compat 1.1, even where none is given.
        compat=compat or (None if features is None else "1.1"),
        nocow="nocow" in parts,
        cluster_size=clusters,
        features=features,
    )


def _backing(parts: _Parts, type_: PoolType) -> ImageDefinition | None:
    path = _text(parts, "path")
    if path is None:
        return None
    return ImageDefinition(
        path=path,
        format=_format(parts, type_),
        permissions=read_permissions(parts.get("permissions")),
    )


def _format(parts: _Parts, type_: PoolType) -> str | None:
    """Return the format; None where volumes have none, whatever is said."""
    if not type_.volume_formats:
        return None
    element = parts.get("format")
    format_ = None if element is None else element.get("type")
    if element is None or not format_:
        return type_.default_volume_format
    # libvirt lists none among the formats of files, and takes it for no file.
    is_none = format_ == "none" != type_.default_volume_format
    if is_none or format_ not in type_.volume_formats:
        raise UnknownValue(
            f"{at(element)}: <format> has the type {shown(format_)}, which no volume of a "
            f"{type_.name!r} pool has; known: {', '.join(type_.volume_formats)}"
        )
    return format_


def _compat(parts: _Parts) -> str | None:
    compat = _text(parts, "compat")
    if compat is None:
        return None
    match = _COMPAT.fullmatch(compat)
    if match is None or any(int(number) >= 2**32 for number in match.groups()):
        raise InvalidDocument(
            f"{at(parts['compat'])}: <compat> holds {shown(compat)}, which is no version; give "
            "'1.1' or '0.10'"
        )
    return compat


def _features(parts: _Parts) -> tuple[str, ...] | None:
    element = parts.get("features")
    if element is None:
        return None
    wanted = set()
    for feature in element:
        name = local_name(feature)
        if name not in FEATURES:
            raise UnknownValue(
                f"{at(feature)}: <features> has the unknown feature {shown(name)}; known: "
                f"{', '.join(FEATURES)}"
            )
        wanted.add(name)
    return tuple(name for name in FEATURES if name in wanted)


def _encryption(element: etree._Element) -> EncryptionDefinition:
    format_ = element.get("format")
    if not format_:
        raise InvalidDocument(f"{at(element)}: <encryption> has no format; give format='luks'")
    if format_ not in _ENCRYPTIONS:
        raise UnknownValue(
            f"{at(element)}: <encryption> has the unknown format {shown(format_)}; known: "
            f"{', '.join(_ENCRYPTIONS)}"
        )
    engine = attribute(element, "engine")
    if engine is not None and engine not in _ENGINES:
        raise InvalidDocument(
            f"{at(element)}: <encryption> has the unknown engine {shown(engine)}; known: "
            f"{', '.join(_ENGINES)}"
        )
    how = EncryptionDefinition(
        format_, engine, secrets=tuple(_secret(secret) for secret in element.iterfind("secret"))
    )
    if format_ == "luks":
        _read_cipher(element, how)
    return how


def _secret(element: etree._Element) -> UUID | str:
    """Return the reference to a secret."""
    kind = element.get("type")
    if not kind:
        raise InvalidDocument(f"{at(element)}: <secret> has no type; give type='passphrase'")
    if kind != "passphrase":
        raise UnknownValue(
            f"{at(element)}: <secret> has the unknown type {shown(kind)}; known: passphrase"
        )
    uuid, usage = attribute(element, "uuid"), attribute(element, "usage")
    if (uuid is None) == (usage is None):
        has = "neither uuid nor usage" if uuid is None else "both uuid and usage"
        raise InvalidDocument(f"{at(element)}: <secret> has {has}; give one of them")
    if usage is not None:
        return usage
    assert uuid is not None  # noqa: S101 - for the type checker
    found = parse_uuid(uuid)
    if found is None:
        raise InvalidDocument(f"{at(element)}: <secret> has uuid={shown(uuid)}, which is none")
    return found


def _read_cipher(element: etree._Element, how: EncryptionDefinition) -> None:
    cipher, ivgen = element.find("cipher"), element.find("ivgen")
    if cipher is not None:
        how.cipher = _required(cipher, "name")
        size = _required(cipher, "size")
        number = None if "-" in size else to_integer(size)
        if number is None or number >= 2**32:
            raise InvalidDocument(
                f"{at(cipher)}: <cipher> has size={shown(size)}, which is no number "
                "of bits; give one, such as '256'"
            )
        how.cipher_size = number
        how.mode, how.hash = attribute(cipher, "mode"), attribute(cipher, "hash")
    if ivgen is not None:
        if cipher is None:
            raise InvalidDocument(
                f"{at(ivgen)}: <encryption> has an <ivgen> and no <cipher>; give both, or neither"
            )
        how.ivgen, how.ivgen_hash = _required(ivgen, "name"), attribute(ivgen, "hash")


def _required(element: etree._Element, name: str) -> str:
    value = attribute(element, name)
    if value is None:
        raise InvalidDocument(f"{at(element)}: <{local_name(element)}> has no {name}; give it one")
    return value


def _own(parts: _Parts) -> dict[str, str]:
    element = parts.get(f"{{{OWN_NAMESPACE}}}volume")
    if element is None:
        return {}
    return {name: value for name in OWN_ATTRIBUTES if (value := element.get(name)) is not None}
