from __future__ import annotations

import pytest
from lxml import etree

from volary.engine.errors import InvalidDocument
from volary.engine.permissions_document import Permissions, read_permissions, write_permissions


def read(inside: str) -> Permissions:
    root = etree.fromstring(f"<target>\n<permissions>{inside}</permissions></target>")
    return read_permissions(root.find("permissions"))


def test_permissions_come_back() -> None:
    permissions = Permissions(0o640, 107, 2**32 - 2, "system_u:object_r:<virt>")
    root = etree.fromstring(f"<target>{write_permissions(permissions, '  ')}</target>")
    assert read_permissions(root.find("permissions")) == permissions


def test_permissions_that_say_nothing_are_not_written() -> None:
    assert write_permissions(Permissions(), "") == ""
    assert read("") == Permissions()
    assert read("<owner>-1</owner><group>4294967295</group><mode/>") == Permissions()


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ("<mode>1777</mode>", "line 2: <mode> holds '1777', which is not within 0 and 0777"),
        ("<mode>8</mode>", "line 2: <mode> holds '8'"),
        ("<owner>root</owner>", "line 2: <owner> holds 'root', which is no numeric id"),
        ("\n<group/>", "line 3: <group> holds '', which is no numeric id"),
        ("<group>-2</group>", "<group> holds '-2'"),
        ("<owner>4294967296</owner>", "<owner> holds '4294967296'"),
    ],
)
def test_permissions_that_are_none_are_refused(inside: str, reason: str) -> None:
    with pytest.raises(InvalidDocument, match=reason):
        read(inside)
