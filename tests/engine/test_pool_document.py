from __future__ import annotations

import time
from uuid import UUID

import pytest

from volary.engine.errors import InvalidDocument, InvalidSpec
from volary.engine.pool_document import read_pool_document, write_pool_document
from volary.engine.pool_spec import PoolSpec

UUID_TEXT = "70a2c9f0-4f1b-4f3a-9d62-31a6c0f9e1aa"


def test_a_pool_survives_being_written_and_read() -> None:
    spec = PoolSpec(
        "größe & <co>", target="/srv/a b", uuid=UUID_TEXT, mode=0o750, owner=107, group=108
    )
    assert read_pool_document(write_pool_document(spec)) == spec


def test_a_pool_without_permissions_survives_too() -> None:
    spec = PoolSpec("images", target="/srv/images", uuid=UUID_TEXT)
    assert read_pool_document(write_pool_document(spec)) == spec


def test_libvirts_own_document_is_read() -> None:
    spec = read_pool_document(
        f"""<?xml version="1.0" encoding="utf-8"?>
        <!-- WARNING: THIS IS AN AUTO-GENERATED FILE. -->
        <pool type='dir'>
          <name>default</name>
          <uuid>{UUID_TEXT}</uuid>
          <capacity unit='bytes'>0</capacity>
          <source>
          </source>
          <target>
            <path>/var/lib/libvirt/images</path>
            <permissions><mode>0711</mode><owner>0</owner><group>-1</group></permissions>
          </target>
        </pool>"""
    )
    assert spec == PoolSpec(
        "default",
        target="/var/lib/libvirt/images",
        uuid=UUID(UUID_TEXT),
        mode=0o711,
        owner=0,
    )


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "not well-formed"),
        ("<pool", "not well-formed"),
        ("<volume/>", "expected the element <pool>, found <volume>"),
        ("<pool type='dir'><target><path>/a</path></target></pool>", "has no <name>"),
        ("<pool type='dir'><name>a</name></pool>", "has no <target><path>"),
        (
            "<pool type='dir'><name>a</name><target><path>/a</path>\n<permissions>{}".format(
                "<owner>root</owner></permissions></target></pool>"
            ),
            "line 2: <owner> holds 'root', not a number",
        ),
        ("<!DOCTYPE pool []><pool/>", "DOCTYPE"),
        ("<!DOCTYPE pool><pool/>", "DOCTYPE"),
        ('<!DOCTYPE pool SYSTEM "file:///nowhere.dtd"><pool/>', "DOCTYPE"),
        ("<pool>\udcff</pool>", "no text that UTF-8 can hold"),
        ('<?xml version="1.0" encoding="utf-16"?><pool/>', "not well-formed"),
    ],
)
def test_a_document_that_is_none_is_refused_with_the_place(document: str, reason: str) -> None:
    with pytest.raises(InvalidDocument, match=reason):
        read_pool_document(document)


def test_a_pool_type_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="unknown type 'bcachefs'"):
        read_pool_document(
            "<pool type='bcachefs'><name>a</name><target><path>/a</path></target></pool>"
        )


@pytest.mark.parametrize(
    "document",
    [
        "<pool>" + "x" * 20_000_000 + "</pool>",
        "<a>" * 100_000,
        '<!DOCTYPE a [<!ENTITY x "xxxx"><!ENTITY y "&x;&x;&x;">]><a>&y;</a>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><pool><name>&x;</name></pool>',
        "<!DOCTYPE a [<!ENTITY x0 'xxxxxxxxxx'>"
        + "".join(f"<!ENTITY x{i} '{f'&x{i - 1};' * 10}'>" for i in range(1, 12))
        + "]><a b='&x11;'>&x11;</a>",
    ],
    ids=["20 MB", "deep", "entities", "external entity", "billion laughs"],
)
def test_a_hostile_document_is_refused_quickly(document: str) -> None:
    began = time.perf_counter()
    with pytest.raises(InvalidDocument):
        read_pool_document(document)
    assert time.perf_counter() - began < 1


def test_a_doctype_is_refused_in_whatever_encoding_it_is_written() -> None:
    document = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE pool []><pool/>'
    with pytest.raises(InvalidDocument, match="DOCTYPE"):
        read_pool_document(document.encode("utf-16"))


def test_a_name_may_speak_of_a_doctype() -> None:
    document = """<pool type='dir'><!-- <!DOCTYPE --><name>a</name>
        <target><path>/a</path></target></pool>"""
    assert read_pool_document(document).name == "a"
