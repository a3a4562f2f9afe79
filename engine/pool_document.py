"""A pool as libvirt's XML document (https://libvirt.org/formatstorage.html)."""

from __future__ import annotations

from lxml import etree

from volary.engine.errors import InvalidDocument
from volary.engine.pool_spec import PoolSpec
from volary.engine.xml_document import parse

_DEFAULT_MODE = 0o711  # VIR_STORAGE_DEFAULT_POOL_PERM_MODE


def read_pool_document(document: str | bytes) -> PoolSpec:
    """Return the pool that `document` describes.

    Raises `InvalidDocument` for one that is not well-formed, too large, or not of a pool, and
    `InvalidSpec` for one whose values cannot be meant so.
    """
    root = parse(document, "pool")
    name = _text(root, "name")
    target = _text(root, "target/path")
    if not name:
        raise InvalidDocument(f"line {root.sourceline}: <pool> has no <name>")
    if not target:
        raise InvalidDocument(f"line {root.sourceline}: pool {name!r} has no <target><path>")
    permissions = "target/permissions/"
    return PoolSpec(
        name,
        type=root.get("type", ""),
        target=target,
        uuid=_text(root, "uuid"),
        mode=_text(root, permissions + "mode"),
        owner=_number(root, permissions + "owner"),
        group=_number(root, permissions + "group"),
    )


def _text(root: etree._Element, path: str) -> str | None:
    return root.findtext(path) or None


def _number(root: etree._Element, path: str) -> int | None:
    text = _text(root, path)
    if text is None or text.strip() == "-1":  # libvirt: -1 leaves the id as it is
        return None
    try:
        return int(text)
    except ValueError:
        element = root.find(path)
        line = element.sourceline if element is not None else root.sourceline
        raise InvalidDocument(
            f"line {line}: <{path.rpartition('/')[2]}> holds {text!r}, not a number"
        ) from None


def write_pool_document(
    spec: PoolSpec, *, capacity: int = 0, allocation: int = 0, available: int = 0
) -> str:
    """Return the document of `spec`; sizes are in bytes and 0 for a pool that is not active."""
    root = etree.Element("pool", type=spec.type)
    _add(root, "name", spec.name)
    if spec.uuid is not None:
        _add(root, "uuid", str(spec.uuid))
    for tag, size in (
        ("capacity", capacity),
        ("allocation", allocation),
        ("available", available),
    ):
        _add(root, tag, str(size)).set("unit", "bytes")
    etree.SubElement(root, "source").text = "\n  "
    target = etree.SubElement(root, "target")
    _add(target, "path", spec.target)
    if (spec.mode, spec.owner, spec.group) != (None, None, None):
        permissions = etree.SubElement(target, "permissions")
        _add(permissions, "mode", f"0{_DEFAULT_MODE if spec.mode is None else spec.mode:o}")
        for tag, number in (("owner", spec.owner), ("group", spec.group)):
            if number is not None:
                _add(permissions, tag, str(number))
    etree.indent(root)
    return etree.tostring(root, encoding="unicode") + "\n"


def _add(parent: etree._Element, tag: str, text: str) -> etree._Element:
    element = etree.SubElement(parent, tag)
    element.text = text
    return element
