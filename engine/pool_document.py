"""A pool as libvirt's XML document (https://libvirt.org/formatstorage.html)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID

from lxml import etree

from volary.engine.adapter_document import placed, read_adapter
from volary.engine.errors import (
    InvalidDocument,
    MalformedDocument,
    UnavailableFeature,
    UnknownValue,
)
from volary.engine.names import check_text
from volary.engine.permissions_document import Permissions, read_permissions, write_permissions
from volary.engine.pool_schema import FS_NAMESPACE, RBD_NAMESPACE, validate_pool
from volary.engine.pool_source import (
    MADE_TARGETS,
    PoolSource,
    check_source,
    complete_source,
)
from volary.engine.pool_source_document import YES_OR_NO, read_source, write_source
from volary.engine.pool_spec import (
    CONFIGURED_TYPES,
    COW_TYPES,
    MOUNTED_TYPES,
    REFRESH_ALLOCATIONS,
    PoolSpec,
    check_pool_name,
    check_target,
)
from volary.engine.pool_type import POOL_TYPES, PoolType
from volary.engine.shown import shown
from volary.engine.uuid_text import parse_uuid
from volary.engine.volume_details import VolumeExtent
from volary.engine.xml_document import (
    at,
    attribute,
    escape,
    first_attribute,
    parse,
    string_value,
    text,
    yes_or_no,
)

_NEEDED: Final = (
    ("host", "hosts", "<host>"),
    ("dir", "directory", "<dir> with a 'path'"),
    ("adapter", "adapter", "<adapter>"),
)
"""What a source must have, if its type has it at all, in the order in which libvirt asks."""


def read_pool_document(document: str | bytes, *, validate: bool = False) -> PoolSpec:
    """Return the pool that `document` describes.

    What pools of its type do not keep is left out. With `validate`, an element or attribute that
    is not read is refused.

    Raises `InvalidDocument`, or a class below it that has the code that libvirt gives, for a
    document that is none of a pool.
    """
    root = parse(document, "pool")
    type_ = _type(root)
    if validate:
        validate_pool(root, type_)
    element = root.find("source")
    source = PoolSource()
    if element is not None:
        source = read_source(element, type_)
        if type_.name == "rbd" and source.name is None:
            raise InvalidDocument(f"{at(element)}: <source> of type 'rbd' has no <name>")
    name = _name(root, source)
    uuid = _uuid(root)
    cow = _cow(root, type_)
    adapter = None if element is None else element.find("adapter")
    if adapter is not None and "adapter" in type_.source:
        source = replace(source, adapter=read_adapter(adapter))
    with placed(root):
        source = complete_source(source, type_, name)
    _check_needed(root if element is None else element, source, type_)
    target, permissions = "", Permissions()
    if type_.has_target:
        target = _target(root, type_)
        permissions = _permissions(root)
    if type_.name == "iscsi-direct" and source.initiator is None:
        raise UnknownValue(f"{at(root)}: <source> of type 'iscsi-direct' has no <initiator><iqn>")
    refresh_allocation = _refresh_allocation(root)
    with placed(root if element is None else element):
        check_source(source, type_, f"pool {name!r}")
    with placed(root):
        return PoolSpec(
            name,
            type=type_.name,
            target=target,
            source=source,
            uuid=uuid,
            mode=permissions.mode,
            owner=permissions.owner,
            group=permissions.group,
            label=permissions.label,
            cow=cow,
            refresh_allocation=refresh_allocation,
            mount_options=_mount_options(root, type_),
            config_options=_config_options(root, type_),
        )


def _type(root: etree._Element) -> PoolType:
    name = attribute(root, "type")
    if name is None:
        raise InvalidDocument(f"{at(root)}: <pool> has no 'type'; known: {', '.join(POOL_TYPES)}")
    type_ = POOL_TYPES.get(name)
    if type_ is None:
        raise InvalidDocument(
            f"{at(root)}: <pool> has the unknown type {shown(name)}; known: "
            + ", ".join(POOL_TYPES)
        )
    return type_


def _name(root: etree._Element, source: PoolSource) -> str:
    name = text(root, "name") or source.name
    if name is None:
        raise InvalidDocument(f"{at(root)}: <pool> has no <name>")
    element = root.find("name")
    if element is None:
        element = root
    if "\n" in name and "/" not in name:
        # libvirt's own code for this one, since its messages have lines.
        raise MalformedDocument(f"{at(element)}: <name> {shown(name)} has a newline; leave it out")
    with placed(element):
        return check_pool_name(name)


def _uuid(root: etree._Element) -> UUID | None:
    value = text(root, "uuid")
    if value is None:
        return None
    uuid = parse_uuid(value)
    if uuid is None:
        raise InvalidDocument(
            f"{at(root)}: <uuid> holds {shown(value)}, which is none; give 32 hexadecimal digits, "
            "or leave the element out for a new one"
        )
    return uuid


def _cow(root: etree._Element, type_: PoolType) -> bool | None:
    element = root.find("features/cow")
    cow = None if element is None else yes_or_no(element, "state")
    if element is not None and cow is not None and type_.name not in COW_TYPES:
        raise UnavailableFeature(
            f"{at(element)}: <cow> is for pools of type {' and '.join(COW_TYPES)}, "
            f"not {type_.name!r}; leave it out"
        )
    return cow


def _check_needed(element: etree._Element, source: PoolSource, type_: PoolType) -> None:
    for part, name, what in _NEEDED:
        if part in type_.source and not getattr(source, name):
            raise InvalidDocument(
                f"{at(element)}: <source> of a pool of type {type_.name!r} has no {what}"
            )
    if type_.source == ("device",) and not source.devices:
        raise InvalidDocument(
            f"{at(element)}: <source> of a pool of type {type_.name!r} has no <device>"
        )


def _target(root: etree._Element, type_: PoolType) -> str:
    if type_.name in MADE_TARGETS:
        return ""  # the spec makes it
    element = root.find("target/path")
    path = "" if element is None else string_value(element)
    if element is None or not path:
        raise InvalidDocument(f"{at(root)}: <pool> has no <target><path>")
    with placed(element):
        return check_target(path, "<path>")


def _permissions(root: etree._Element) -> Permissions:
    permissions = read_permissions(root.find("target/permissions"))
    element = root.find("target/permissions/label")
    if element is not None and permissions.label is not None:
        with placed(element):
            check_text(permissions.label, "<label>")
    return permissions


def _refresh_allocation(root: etree._Element) -> str | None:
    value = first_attribute(root, "refresh/volume", "allocation")
    if value is not None and value not in REFRESH_ALLOCATIONS:
        raise UnknownValue(
            f"{at(root)}: <volume> of <refresh> has the unknown allocation {shown(value)}; known: "
            + ", ".join(REFRESH_ALLOCATIONS)
        )
    return value


def _mount_options(root: etree._Element, type_: PoolType) -> tuple[str, ...]:
    if type_.name not in MOUNTED_TYPES:
        return ()
    found = root.iterfind(f"{{{FS_NAMESPACE}}}mount_opts/{{{FS_NAMESPACE}}}option")
    return tuple(_option(element, "name") for element in found)


def _config_options(root: etree._Element, type_: PoolType) -> tuple[tuple[str, str], ...]:
    if type_.name not in CONFIGURED_TYPES:
        return ()
    found = root.iterfind(f"{{{RBD_NAMESPACE}}}config_opts/{{{RBD_NAMESPACE}}}option")
    return tuple((_option(element, "name"), _option(element, "value")) for element in found)


def _option(element: etree._Element, name: str) -> str:
    value = attribute(element, name)
    if not value:
        raise InvalidDocument(f"{at(element)}: <option> has no {name!r}")
    return value


def write_pool_document(
    spec: PoolSpec,
    *,
    capacity: int = 0,
    allocation: int = 0,
    available: int = 0,
    free_extents: tuple[VolumeExtent, ...] = (),
) -> str:
    """Return the document of `spec`, to the byte as libvirt writes it.

    capacity, allocation, available: bytes; 0 for a pool that is not active.
    free_extents: where the partitions of an active "disk" pool are not.
    """
    namespace, options = _write_options(spec)
    uuid = "" if spec.uuid is None else f"  <uuid>{spec.uuid}</uuid>\n"
    cow = "" if spec.cow is None else f"<cow state='{YES_OR_NO[spec.cow]}'/>"
    refresh = spec.refresh_allocation
    return (
        f"<pool type='{spec.type}'{namespace}>\n"
        f"  <name>{escape(spec.name)}</name>\n"
        f"{uuid}"
        f"  <capacity unit='bytes'>{capacity}</capacity>\n"
        f"  <allocation unit='bytes'>{allocation}</allocation>\n"
        f"  <available unit='bytes'>{available}</available>\n"
        + (f"  <features>\n    {cow}\n  </features>\n" if cow else "")
        + write_source(spec.source, "  ", free_extents)
        + _write_target(spec)
        + (f"  <refresh>\n    <volume allocation='{refresh}'/>\n  </refresh>\n" if refresh else "")
        + options
        + "</pool>\n"
    )


def _write_target(spec: PoolSpec) -> str:
    if not spec.target:
        return ""
    permissions = Permissions(spec.mode, spec.owner, spec.group, spec.label)
    return (
        f"  <target>\n    <path>{escape(spec.target)}</path>\n"
        + write_permissions(permissions, "    ")
        + "  </target>\n"
    )


def _write_options(spec: PoolSpec) -> tuple[str, str]:
    """Return the declaration of the options' namespace and the element that holds them."""
    if spec.mount_options:
        prefix, uri, tag = "fs", FS_NAMESPACE, "mount_opts"
        options = [f"name='{escape(name)}'" for name in spec.mount_options]
    elif spec.config_options:
        prefix, uri, tag = "rbd", RBD_NAMESPACE, "config_opts"
        options = [
            f"name='{escape(name)}' value='{escape(value)}'" for name, value in spec.config_options
        ]
    else:
        return "", ""
    lines = "".join(f"    <{prefix}:option {option}/>\n" for option in options)
    return f" xmlns:{prefix}='{uri}'", f"  <{prefix}:{tag}>\n{lines}  </{prefix}:{tag}>\n"
