"""What a volume document may have when it is to be validated.

The elements and attributes are those of libvirt's schema, and what they may hold: where that is
more than the reader asks for, it is asked here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lxml import etree

from volary.engine.errors import NotInSchema
from volary.engine.shown import shown
from volary.engine.xml_document import at

_ANY: Final = re.compile(r".*", re.DOTALL)
_NONE: Final = re.compile(r"[ \t\r\n]*")
_NUMBER: Final = re.compile(r"[0-9]+", re.ASCII)
_UNIT: Final = re.compile(r"[bB]([yY][tT][eE][sS]?)?|[kKmMgGtTpPeE]([iI]?[bB])?")
_ID: Final = re.compile(r"[0-9]+|[ \t\r\n]*-1[ \t\r\n]*", re.ASCII)
_TIME: Final = re.compile(r"[0-9]+(\.[0-9]{0,9})?", re.ASCII)
_ABSOLUTE: Final = re.compile(r"(/|[a-zA-Z]:\\).+", re.DOTALL)
_UUID: Final = re.compile(
    r"[a-fA-F0-9]{32}|[a-fA-F0-9]{8}-([a-fA-F0-9]{4}-){3}[a-fA-F0-9]{12}", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What an element may be.

    children: the elements in it, each at most once.
    attributes: what they may hold.
    text: what its own text may be.
    required: the children and attributes that it must have.
    repeated: the children that it may have more than once.
    """

    children: Mapping[str, Shape]
    attributes: Mapping[str, re.Pattern[str]]
    text: re.Pattern[str] = _NONE
    required: frozenset[str] = frozenset()
    repeated: frozenset[str] = frozenset()


def _shape(
    children: dict[str, Shape] | None = None,
    text: re.Pattern[str] = _NONE,
    *,
    required: str = "",
    repeated: str = "",
    **attributes: re.Pattern[str],
) -> Shape:
    return Shape(
        children or {}, attributes, text, frozenset(required.split()), frozenset(repeated.split())
    )


def _holds(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


_SIZE = _shape(None, _NUMBER, unit=_UNIT)
_FORMAT = _shape(
    None,
    required="type",
    type=_holds(
        "unknown|raw|dir|bochs|cloop|dmg|iso|vpc|vdi|fat|vhd|ploop|luks|cow|qcow|qcow2|qed|vmdk|"
        "none|auto|ext[234]|ufs|iso9660|udf|gfs2?|vfat|hfs\\+|xfs|ocfs2|vmfs|"
        "linux|fat16|fat32|linux-swap|linux-lvm|linux-raid|extended"
    ),
)
_PERMISSIONS = _shape(
    {
        "mode": _shape(None, _holds("[0-7]+")),
        "owner": _shape(None, _ID),
        "group": _shape(None, _ID),
        "label": _shape(None, _ANY),
    }
)
_TIMESTAMPS = _shape({name: _shape(None, _TIME) for name in ("atime", "btime", "ctime", "mtime")})
_SECRET = _shape(None, required="type", type=_holds("passphrase"), uuid=_UUID, usage=_ANY)
_ENCRYPTION = _shape(
    {
        "secret": _SECRET,
        "cipher": _shape(
            None, required="name size", name=_ANY, size=_NUMBER, mode=_ANY, hash=_ANY
        ),
        "ivgen": _shape(None, required="name", name=_ANY, hash=_ANY),
    },
    required="format",
    format=_holds("default|qcow|luks|luks2"),
    engine=_holds("qemu|librbd"),
)
_FILE: dict[str, Shape] = {
    "format": _FORMAT,
    "permissions": _PERMISSIONS,
    "timestamps": _TIMESTAMPS,
}
_EMPTY = _shape()
_TARGET = _shape(
    _FILE
    | {
        "path": _shape(None, _ANY),
        "encryption": _ENCRYPTION,
        "compat": _shape(None, _holds(r"[0-9]+\.[0-9]+")),
        "nocow": _EMPTY,
        "clusterSize": _SIZE,
        "features": _shape({"lazy_refcounts": _EMPTY, "extended_l2": _EMPTY}),
    }
)
_EXTENT = _shape(None, required="start end", start=_NUMBER, end=_NUMBER)
_DEVICE = _shape({"extent": _EXTENT}, required="path", repeated="extent", path=_ABSOLUTE)
_VOLUME = _shape(
    {
        "name": _shape(None, re.compile(r"(?!\.\.?\Z)[^/]+")),
        "key": _shape(None, _ANY),
        "source": _shape({"device": _DEVICE}, repeated="device"),
        "capacity": _SIZE,
        "allocation": _SIZE,
        "physical": _SIZE,
        "target": _TARGET,
        "backingStore": _shape(_FILE | {"path": _shape(None, _ABSOLUTE)}, required="path"),
    },
    required="name target",
    type=_holds("file|block|dir|network|netdir"),
)


def validate_volume(root: etree._Element) -> None:
    """Raise `NotInSchema` for the first thing in a volume document that libvirt's schema does not
    have. What bears a namespace of Volary's own is passed over.
    """
    _validate(root, _VOLUME)


def _validate(element: etree._Element, shape: Shape) -> None:
    where = f"{at(element)}: <{element.tag!s}>"
    attributes = [str(name) for name in element.keys()]  # noqa: SIM118 - it is no mapping
    for name in attributes:
        pattern = shape.attributes.get(name)
        if pattern is None:
            raise NotInSchema(f"{where} has the unknown attribute {shown(name)}; leave it out")
        value = element.get(name) or ""
        if not pattern.fullmatch(value):
            raise NotInSchema(f"{where} has {name}={shown(value)}, which it cannot be")
    seen: set[str] = set()
    text = [element.text or ""]
    for child in element:
        tag = str(child.tag)
        text.append(child.tail or "")
        if tag.startswith("{urn:volary:"):
            continue
        if tag not in shape.children:
            raise NotInSchema(
                f"{at(child)}: <{tag[:64]}> is unknown in <{element.tag!s}>; leave it out"
            )
        if tag in seen and tag not in shape.repeated:
            raise NotInSchema(f"{at(child)}: <{tag}> is there twice; leave one out")
        seen.add(tag)
        _validate(child, shape.children[tag])
    if not shape.text.fullmatch("".join(text)):
        raise NotInSchema(f"{where} holds {shown(''.join(text).strip())}, which it cannot")
    missing = shape.required - seen - set(attributes)
    if missing:
        raise NotInSchema(f"{where} has no {' and no '.join(sorted(missing))}; give it one")
    _require_pairs(element, seen)


def _require_pairs(element: etree._Element, seen: set[str]) -> None:
    """Some parts come together or not at all."""
    where = f"{at(element)}: <{element.tag}>"
    if element.tag == "secret" and ("uuid" in element.attrib) == ("usage" in element.attrib):
        raise NotInSchema(f"{where} has one of uuid and usage")
    if element.tag == "encryption":
        if seen and "secret" not in seen:
            raise NotInSchema(f"{where} has a cipher, and no <secret>; give it one")
        if ("cipher" in seen) != ("ivgen" in seen):
            raise NotInSchema(f"{where} has both <cipher> and <ivgen>, or neither")
    if element.tag == "cipher" and ("mode" in element.attrib) != ("hash" in element.attrib):
        raise NotInSchema(f"{where} has both mode and hash, or neither")
