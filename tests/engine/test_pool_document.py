from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from tests.engine.pool_specs import pool_specs

from volary.engine.errors import (
    InvalidDocument,
    MalformedWwn,
    NotInSchema,
    UnavailableFeature,
    UnknownValue,
)
from volary.engine.pool_document import read_pool_document, write_pool_document
from volary.engine.pool_source import PoolSource, SourceDevice, SourceHost
from volary.engine.pool_spec import PoolSpec
from volary.engine.pool_type import POOL_TYPES
from volary.engine.volume_details import VolumeExtent

UUID_TEXT = "70a2c9f0-4f1b-4f3a-9d62-31a6c0f9e1aa"


@given(pool_specs())
def test_every_pool_survives_being_written_and_read(spec: PoolSpec) -> None:
    document = write_pool_document(spec)
    assert read_pool_document(document, validate=True) == spec
    assert write_pool_document(read_pool_document(document)) == document


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


def test_sizes_and_free_extents_of_an_active_pool_are_written() -> None:
    source = PoolSource(devices=(SourceDevice("/dev/vdb", part_separator=True),), format="gpt")
    spec = PoolSpec("vdb", type="disk", target="/dev", source=source, uuid=UUID_TEXT)
    free = (VolumeExtent("/dev/vdb", 60, 80), VolumeExtent("/dev/vdb", 80, 100))
    assert (
        write_pool_document(spec, capacity=100, allocation=60, available=40, free_extents=free)
        == f"""<pool type='disk'>
  <name>vdb</name>
  <uuid>{UUID_TEXT}</uuid>
  <capacity unit='bytes'>100</capacity>
  <allocation unit='bytes'>60</allocation>
  <available unit='bytes'>40</available>
  <source>
    <device path='/dev/vdb' part_separator='yes'>
      <freeExtent start='60' end='80'/>
      <freeExtent start='80' end='100'/>
    </device>
    <format type='gpt'/>
  </source>
  <target>
    <path>/dev</path>
  </target>
</pool>
"""
    )


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "not well-formed"),
        ("<pool", "not well-formed"),
        ("<volume/>", "line 1: expected the element <pool>, found <volume>"),
        ("<pool/>", "line 1: <pool> has no 'type'"),
        ("<pool type='bcachefs'/>", "line 1: <pool> has the unknown type 'bcachefs'; known: dir"),
        ("<pool type='dir'><target><path>/a</path></target></pool>", "has no <name>"),
        ("<pool type='dir'><name>a</name></pool>", "has no <target><path>"),
        (
            "<pool type='dir'><name>a</name><target><path>/a</path>\n<permissions>{}".format(
                "<owner>root</owner></permissions></target></pool>"
            ),
            "line 2: <owner> holds 'root', which is no numeric id",
        ),
        (
            "<pool type='dir'><name>a</name>\n<target>\n<path>a</path></target></pool>",
            "line 3: <path>: target 'a' is relative; give an absolute path",
        ),
        (
            "<pool type='netfs'><name>a</name>\n<source>\n<host name=''/></source></pool>",
            "line 3: source host: '' is no text",
        ),
    ],
)
def test_a_document_that_is_none_is_refused_with_the_place(document: str, reason: str) -> None:
    with pytest.raises(InvalidDocument, match=reason):
        read_pool_document(document)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("<format type='zfs'/>", UnknownValue),
        ("<adapter type='fc_host' wwnn='1' wwpn='2'/>", MalformedWwn),
        ("<auth type='x' username='u'><secret usage='y'/></auth>", UnknownValue),
    ],
)
def test_the_error_has_libvirts_code(source: str, error: type[InvalidDocument]) -> None:
    kind = "scsi" if "adapter" in source else "fs"
    with pytest.raises(error):
        read_pool_document(
            f"<pool type='{kind}'><name>a</name><source>{source}<device path='/d'/></source>"
            "<target><path>/a</path></target></pool>"
        )


def test_a_feature_of_other_types_is_not_supported() -> None:
    with pytest.raises(UnavailableFeature, match="line 2: <cow> is for pools of type dir and fs"):
        read_pool_document(
            "<pool type='mpath'><name>a</name><features>\n<cow state='no'/></features></pool>"
        )


@pytest.mark.parametrize(
    ("kind", "inside", "reason"),
    [
        ("dir", "<more/>", "line 2: <more> in <pool> is what no pool of type 'dir' has"),
        ("dir", "<source><host name='h'/></source>", "<host> in <source>"),
        ("dir", "<uuid x='1'/>", "<uuid> has the attribute 'x'"),
        ("rbd", "<target/>", "<target> in <pool>"),
        (
            "disk",
            "<o:mount_opts xmlns:o='http://libvirt.org/schemas/storagepool/fs/1.0'/>",
            "opts",
        ),
    ],
)
def test_validation_names_what_nobody_reads(kind: str, inside: str, reason: str) -> None:
    with pytest.raises(NotInSchema, match=reason):
        read_pool_document(f"<pool type='{kind}'>\n{inside}</pool>", validate=True)


def test_what_a_type_does_not_keep_is_left_out() -> None:
    spec = read_pool_document(
        """<pool type='iscsi'><name>a</name><source><host name='h'/><name>no</name>
        <dir path='/no'/><adapter name='no'/><format type='no'/><device path='iqn'/></source>
        <target><path>/a</path></target></pool>"""
    )
    assert spec.source == PoolSource(hosts=(SourceHost("h"),), devices=(SourceDevice("iqn"),))


@pytest.mark.parametrize("kind", POOL_TYPES)
def test_no_document_of_a_type_breaks_the_reader(kind: str) -> None:
    for inside in ("", "<source/>", "<source><adapter/><auth/><host/><device/></source>"):
        with pytest.raises(InvalidDocument):
            read_pool_document(f"<pool type='{kind}'><name>a/b</name>{inside}</pool>")


def test_a_name_may_speak_of_a_doctype() -> None:
    document = """<pool type='dir'><!-- <!DOCTYPE --><name>a</name>
        <target><path>/a</path></target></pool>"""
    assert read_pool_document(document).name == "a"


def test_a_document_may_be_bytes() -> None:
    document: Any = "<pool type='dir'><name>größe</name><target><path>/a</path></target></pool>"
    assert read_pool_document(document.encode()) == read_pool_document(document)
