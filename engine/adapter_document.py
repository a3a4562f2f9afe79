"""`<adapter>` of a pool's source: the SCSI host of this machine that the storage is behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lxml import etree

from volary.engine.errors import InvalidDocument, InvalidSpec, MalformedWwn
from volary.engine.pool_source import FcHostAdapter, ParentAddress, ScsiHostAdapter
from volary.engine.shown import shown
from volary.engine.xml_document import (
    at,
    attribute,
    escape,
    first_attribute,
    to_integer,
    yes_or_no,
)

_TYPES: Final = ("scsi_host", "fc_host")
_WWN: Final = re.compile(r"(0x)?[0-9a-fA-F]{16}", re.ASCII)
_LARGEST_INT = 2**31 - 1
_LARGEST_UNSIGNED = 2**32 - 1


@contextmanager
def placed(element: etree._Element) -> Iterator[None]:
    """Have an `InvalidSpec` of what was read in `element` say the line."""
    try:
        yield
    except InvalidDocument:
        raise
    except InvalidSpec as error:
        raise InvalidDocument(f"{at(element)}: {error}") from None


def check_adapter(element: etree._Element) -> None:
    """Raise `InvalidDocument` for an adapter that libvirt refuses in a pool of any type."""
    kind = attribute(element, "type")
    if kind is None:
        for name in ("wwnn", "wwpn", "parent"):
            if attribute(element, name) is not None:
                raise InvalidDocument(f"{at(element)}: <adapter> with {name!r} needs its 'type'")
        if element.find("parentaddr") is not None:
            raise InvalidDocument(f"{at(element)}: <adapter> with <parentaddr> needs its 'type'")
    elif kind not in _TYPES:
        raise InvalidDocument(
            f"{at(element)}: <adapter> has the unknown type {shown(kind)}; known: "
            + ", ".join(_TYPES)
        )
    elif kind == "fc_host":
        yes_or_no(element, "managed")
    elif element.find("parentaddr") is not None:
        _parent_address(element)


def read_adapter(element: etree._Element) -> ScsiHostAdapter | FcHostAdapter | None:
    """Return the adapter, which was checked, or None for one that says nothing."""
    kind = attribute(element, "type")
    if kind == "fc_host":
        return _fc_host(element)
    name = attribute(element, "name")
    parented = kind is not None and element.find("parentaddr") is not None
    if name is None and kind is None:
        return None
    if (name is None) != parented:
        raise InvalidDocument(
            f"{at(element)}: <adapter> of a scsi_host has "
            + ("both a 'name' and a <parentaddr>" if parented else "no 'name' and no <parentaddr>")
            + "; give one of them"
        )
    with placed(element):
        return ScsiHostAdapter(name, _parent_address(element) if parented else None)


def _parent_address(adapter: etree._Element) -> ParentAddress:
    address = adapter.find("parentaddr/address")
    if address is None:
        raise InvalidDocument(f"{at(adapter)}: <parentaddr> has no <address>")
    numbers = {name: _unsigned(address, name) for name in ("domain", "bus", "slot", "function")}
    multifunction = attribute(address, "multifunction")
    if multifunction not in (None, "on", "off"):
        raise InvalidDocument(
            f"{at(address)}: <address> has multifunction={shown(multifunction)}; "
            "give 'on' or 'off'"
        )
    for zpci in address.iterfind("zpci"):
        for name in ("uid", "fid"):
            _unsigned(zpci, name)
    unique_id = to_integer(first_attribute(adapter, "parentaddr", "unique_id") or "")
    if unique_id is None or not 0 <= unique_id <= _LARGEST_INT:
        raise InvalidDocument(
            f"{at(adapter)}: <parentaddr> needs a 'unique_id' within 0 and {_LARGEST_INT}"
        )
    with placed(address):
        return ParentAddress(unique_id, **numbers)


def _unsigned(element: etree._Element, name: str) -> int:
    value = attribute(element, name)
    if value is None:
        return 0
    number = to_integer(value, 0)
    if number is None or "-" in value or number > _LARGEST_UNSIGNED:
        raise InvalidDocument(
            f"{at(element)}: <{element.tag}> has {name}={shown(value)}; "
            "give a number, such as '0x1f'"
        )
    return number


def _fc_host(element: etree._Element) -> FcHostAdapter:
    found = {
        name: attribute(element, name)
        for name in ("wwnn", "wwpn", "parent_wwnn", "parent_wwpn", "parent_fabric_wwn")
    }
    for one, other in (("wwnn", "wwpn"), ("wwpn", "wwnn")):
        if found[one] is None:
            raise InvalidDocument(
                f"{at(element)}: <adapter> of an fc_host has no {one!r}; give it and {other!r}"
            )
    _check_wwns(element, found, "wwnn", "wwpn")
    for one, other in (("parent_wwnn", "parent_wwpn"), ("parent_wwpn", "parent_wwnn")):
        if found[one] is not None and found[other] is None:
            raise InvalidDocument(
                f"{at(element)}: <adapter> has {one!r} without {other!r}; give both"
            )
    _check_wwns(element, found, "parent_wwnn", "parent_wwpn", "parent_fabric_wwn")
    with placed(element):
        return FcHostAdapter(
            str(found.pop("wwnn")),
            str(found.pop("wwpn")),
            attribute(element, "parent"),
            managed=yes_or_no(element, "managed"),
            **found,
        )


def _check_wwns(element: etree._Element, found: dict[str, str | None], *names: str) -> None:
    for name in names:
        value = found[name]
        if value is not None and not _WWN.fullmatch(value):
            raise MalformedWwn(
                f"{at(element)}: <adapter> has {name}={shown(value)}, "
                "which is no World Wide Name; give 16 hexadecimal digits"
            )


def write_adapter(adapter: ScsiHostAdapter | FcHostAdapter, indent: str) -> str:
    """Return the element, each line after `indent`."""
    if isinstance(adapter, FcHostAdapter):
        attributes = (
            ("parent", adapter.parent),
            ("parent_wwnn", adapter.parent_wwnn),
            ("parent_wwpn", adapter.parent_wwpn),
            ("parent_fabric_wwn", adapter.parent_fabric_wwn),
            ("managed", {True: "yes", False: "no", None: None}[adapter.managed]),
            ("wwnn", adapter.wwnn),
            ("wwpn", adapter.wwpn),
        )
        given = "".join(f" {name}='{escape(text)}'" for name, text in attributes if text)
        return f"{indent}<adapter type='fc_host'{given}/>\n"
    if adapter.name is not None:
        return f"{indent}<adapter type='scsi_host' name='{escape(adapter.name)}'/>\n"
    address = adapter.parent_address
    assert address is not None  # noqa: S101 - ScsiHostAdapter has one of the two
    return (
        f"{indent}<adapter type='scsi_host'>\n"
        f"{indent}  <parentaddr unique_id='{address.unique_id}'>\n"
        f"{indent}    <address domain='0x{address.domain:04x}' bus='0x{address.bus:02x}' "
        f"slot='0x{address.slot:02x}' function='0x{address.function:x}'/>\n"
        f"{indent}  </parentaddr>\n"
        f"{indent}</adapter>\n"
    )
