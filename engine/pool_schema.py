"""What a pool document may have when it is to be validated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

from lxml import etree

from volary.engine.errors import NotInSchema
from volary.engine.pool_spec import CONFIGURED_TYPES, MOUNTED_TYPES
from volary.engine.pool_type import PoolType
from volary.engine.shown import shown
from volary.engine.xml_document import at

FS_NAMESPACE: Final = "http://libvirt.org/schemas/storagepool/fs/1.0"
RBD_NAMESPACE: Final = "http://libvirt.org/schemas/storagepool/rbd/1.0"


class _Shape(NamedTuple):
    """The attributes that are read of an element, and the elements that are read in it."""

    attributes: frozenset[str]
    children: Mapping[str, _Shape]


def _shape(attributes: str = "", **children: _Shape) -> _Shape:
    return _Shape(frozenset(attributes.split()), children)


_TEXT: Final = _shape()
_PARTS: Final = {
    "host": _shape("name port"),
    "device": _shape("path part_separator", freeExtent=_shape("start end")),
    "dir": _shape("path"),
    "adapter": _shape(
        "type name parent parent_wwnn parent_wwpn parent_fabric_wwn managed wwnn wwpn",
        parentaddr=_shape(
            "unique_id",
            address=_shape("domain bus slot function multifunction", zpci=_shape("uid fid")),
        ),
    ),
    "name": _TEXT,
    "initiator": _shape(iqn=_shape("name")),
}
"""The parts of a source that `PoolType.source` names."""

_ANY_SOURCE: Final = {
    "auth": _shape("type username", secret=_shape("type uuid usage")),
    "protocol": _shape("ver"),
    "vendor": _shape("name"),
    "product": _shape("name"),
}
_PERMISSIONS: Final = _shape(mode=_TEXT, owner=_TEXT, group=_TEXT, label=_TEXT)


@cache
def _pool(type_: PoolType) -> _Shape:
    source = _ANY_SOURCE | {part: _PARTS[part] for part in type_.source}
    if type_.formats:
        source["format"] = _shape("type")
    size = _shape("unit")
    children = {
        "name": _TEXT,
        "uuid": _TEXT,
        "capacity": size,
        "allocation": size,
        "available": size,
        "features": _shape(cow=_shape("state")),
        "source": _Shape(frozenset(), source),
        "refresh": _shape(volume=_shape("allocation")),
    }
    if type_.has_target:
        children["target"] = _shape(path=_TEXT, permissions=_PERMISSIONS)
    if type_.name in MOUNTED_TYPES:
        children |= _options(FS_NAMESPACE, "mount_opts", "name")
    if type_.name in CONFIGURED_TYPES:
        children |= _options(RBD_NAMESPACE, "config_opts", "name value")
    return _Shape(frozenset({"type"}), children)


def _options(namespace: str, name: str, attributes: str) -> dict[str, _Shape]:
    option = {f"{{{namespace}}}option": _shape(attributes)}
    return {f"{{{namespace}}}{name}": _Shape(frozenset(), option)}


def validate_pool(root: etree._Element, type_: PoolType) -> None:
    """Raise `NotInSchema` for the first element or attribute that no pool of this type is read
    with.
    """
    _validate(root, _pool(type_), type_)


def _validate(element: etree._Element, shape: _Shape, type_: PoolType) -> None:
    for name in element.keys():  # noqa: SIM118 - an element is no mapping
        if name not in shape.attributes:
            raise NotInSchema(
                f"{at(element)}: <{element.tag}> has the attribute {shown(name)}, "
                f"which no pool of type {type_.name!r} has; leave it out"
            )
    for child in element:
        tag = str(child.tag)
        if tag not in shape.children:
            raise NotInSchema(
                f"{at(child)}: <{tag[:64]}> in <{element.tag}> is what no pool of type "
                f"{type_.name!r} has; leave it out"
            )
        _validate(child, shape.children[tag], type_)
