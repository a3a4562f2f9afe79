"""`<permissions>`, which a pool's target, a volume's and its backing file's have alike."""

from __future__ import annotations

from typing import NamedTuple

from lxml import etree

from volary.engine.errors import InvalidDocument
from volary.engine.mode import LARGEST_MODE
from volary.engine.shown import shown
from volary.engine.xml_document import at, escape, string_value, to_integer

_UNCHANGED = 2**32 - 1  # (uid_t)-1, which chown(2) takes for "leave it"


class Permissions(NamedTuple):
    """Permission bits, numeric owner and group, and SELinux's label; None where not given."""

    mode: int | None = None
    owner: int | None = None
    group: int | None = None
    label: str | None = None


def read_permissions(element: etree._Element | None) -> Permissions:
    """Return what the element says, or nothing without one.

    Raises `InvalidDocument` for a mode or an id that libvirt does not take.
    """
    if element is None:
        return Permissions()
    # The first of each, in one pass: to look for each takes three times as long.
    parts: dict[str, etree._Element] = {}
    for part in element:
        parts.setdefault(part.tag, part)
    label = parts.get("label")
    return Permissions(
        _mode(parts.get("mode")),
        _id(parts.get("owner")),
        _id(parts.get("group")),
        None if label is None else string_value(label) or None,
    )


def _mode(element: etree._Element | None) -> int | None:
    value = None if element is None else string_value(element)
    if element is None or not value:
        return None
    mode = to_integer(value, 8)
    if mode is None or not 0 <= mode <= LARGEST_MODE:
        raise InvalidDocument(
            f"{at(element)}: <mode> holds {shown(value)}, which is not within 0 and "
            f"0{LARGEST_MODE:o}; give octal digits, such as '0711'"
        )
    return mode


def _id(element: etree._Element | None) -> int | None:
    if element is None:
        return None
    value = string_value(element)
    number = to_integer(value)
    if number is None or not -1 <= number <= _UNCHANGED:
        raise InvalidDocument(
            f"{at(element)}: <{element.tag!s}> holds {shown(value)}, which is no numeric id; "
            "give a number, or leave the element out for the process's own"
        )
    return None if number in (-1, _UNCHANGED) else number


def write_permissions(permissions: Permissions, indent: str) -> str:
    """Return the element, each line after `indent`; "" where nothing is given."""
    if permissions == (None, None, None, None):
        return ""
    mode, owner, group, label = permissions
    return (
        f"{indent}<permissions>\n"
        + (f"{indent}  <mode>0{mode:o}</mode>\n" if mode is not None else "")
        + (f"{indent}  <owner>{owner}</owner>\n" if owner is not None else "")
        + (f"{indent}  <group>{group}</group>\n" if group is not None else "")
        + (f"{indent}  <label>{escape(label)}</label>\n" if label is not None else "")
        + f"{indent}</permissions>\n"
    )
