"""Volumes that are made from documents, and described by them."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import NeedTool

import volary
from volary.engine.errors import ErrorCode

MIB = 1 << 20


def document(
    target: str = "",
    *,
    name: str = "a",
    sizes: str = "<capacity unit='MiB'>1</capacity><allocation>0</allocation>",
    more: str = "",
) -> str:
    return f"<volume><name>{name}</name>{sizes}<target>{target}</target>{more}</volume>"


LUKS = (
    "<format type='qcow2'/><encryption format='luks'>"
    "<secret type='passphrase' usage='/volary/luks'/></encryption>"
)


def test_a_volume_is_created_from_its_document(pool: volary.Pool) -> None:
    volume = pool.create_volume(document("<permissions><mode>0640</mode></permissions>"))
    assert (volume.name, volume.info().capacity) == ("a", MIB)
    assert stat.S_IMODE(os.stat(volume.path).st_mode) == 0o640


def test_a_volume_is_cloned_to_what_a_document_says(pool: volary.Pool) -> None:
    source = pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    clone = pool.clone_volume(source, document("<format type='qcow2'/>", name="b", sizes=""))
    assert (clone.info().format, clone.info().capacity) == ("qcow2", MIB)


def test_a_new_volumes_document_makes_another_one_like_it(pool: volary.Pool) -> None:
    first = pool.create_volume(
        volary.VolumeSpec("a", capacity=MIB, format="qcow2", lazy_refcounts=True, mode=0o640)
    )
    second = pool.create_volume(first.xml().replace("<name>a</name>", "<name>b</name>"))
    assert second.info().image == first.info().image
    assert os.stat(second.path).st_mode == os.stat(first.path).st_mode


@pytest.mark.parametrize("call", ["create", "clone"])
def test_a_document_is_validated_where_that_is_asked_for(pool: volary.Pool, call: str) -> None:
    source = pool.create_volume(volary.VolumeSpec("source", capacity=MIB))
    text = document("<colour>red</colour>")
    make = pool.create_volume if call == "create" else partial(pool.clone_volume, source)
    with pytest.raises(volary.InvalidDocument, match="<colour> is unknown") as caught:
        make(text, volary.VolumeCreate.VALIDATE)
    assert caught.value.code == ErrorCode.XML_INVALID_SCHEMA
    assert pool.create_volume(text).name == "a"


def test_metadata_can_be_asked_for_beside_a_document(pool: volary.Pool) -> None:
    flags = volary.VolumeCreate.PREALLOCATE_METADATA
    pool.create_volume(document("<format type='qcow2'/>"), flags)
    with pytest.raises(volary.InvalidSpec, match="preallocation of metadata is qcow2's") as e:
        pool.create_volume(document(name="b"), flags)
    assert e.value.code == ErrorCode.CONFIG_UNSUPPORTED


# Secrets.


def test_a_volume_is_not_encrypted_without_its_passphrase(pool: volary.Pool) -> None:
    with pytest.raises(volary.InvalidSpec, match=r"'/volary/luks'.*\(secret=…\)") as caught:
        pool.create_volume(document(LUKS))
    assert caught.value.code == ErrorCode.NO_SECRET
    assert pool.volumes() == []


def test_an_encryption_without_any_secret_is_refused(pool: volary.Pool) -> None:
    with pytest.raises(volary.InvalidSpec, match="has no secret") as caught:
        pool.create_volume(document("<encryption format='luks'/>"))
    assert caught.value.code == ErrorCode.INVALID_ARG


def test_a_passphrase_that_nothing_is_encrypted_with_is_refused(pool: volary.Pool) -> None:
    with pytest.raises(volary.InvalidSpec, match="nothing is to be encrypted"):
        pool.create_volume(document(), secret="geheim")


def test_a_passphrase_is_given_beside_the_document(pool: volary.Pool, need_tool: NeedTool) -> None:
    """It is: only qemu-img, which derives no key for a cipher that it has not, says no."""
    need_tool("qemu-img", "qemu-utils")
    unknown = LUKS.replace("</encryption>", "<cipher name='rot' size='13'/></encryption>")
    with pytest.raises(volary.ToolFailed, match="rot-13"):
        pool.create_volume(document(unknown), secret="geheim")
    assert pool.volumes() == []


# Directories.


def test_a_directory_is_a_volume(pool: volary.Pool) -> None:
    volume = pool.create_volume(volary.VolumeSpec("d", format="dir", mode=0o750))
    assert stat.S_IMODE(os.stat(volume.path).st_mode) == 0o750
    assert os.path.isdir(volume.path)
    assert (volume.info().type, volume.info().format) == ("dir", "dir")
    volume.delete()
    assert pool.volumes() == []


def test_a_directory_is_described_without_sizes(pool: volary.Pool) -> None:
    written = pool.create_volume(document("<format type='dir'/>")).xml()
    assert written.startswith("<volume type='dir'>")
    assert "<capacity unit='bytes'>0</capacity>" in written
    assert "<physical" not in written


def test_a_directory_replaces_nothing(pool: volary.Pool, target: Path) -> None:
    (target / "d").mkdir()
    with pytest.raises(volary.VolumeExists):
        pool.create_volume(volary.VolumeSpec("d", format="dir"))
    assert os.listdir(target) == ["d"]


def test_nothing_is_cloned_into_a_directory(pool: volary.Pool) -> None:
    source = pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    with pytest.raises(volary.InvalidSpec, match="a directory has no content"):
        pool.clone_volume(source, volary.VolumeSpec("d", format="dir"))


def test_a_directory_has_no_partition(pool: volary.Pool) -> None:
    with pytest.raises(volary.InvalidSpec, match="'linux'"):
        pool.create_volume(volary.VolumeSpec("a", capacity=MIB, format="linux"))
    assert pool.volumes() == []


# What is said of a backing file.


def test_of_a_volume_of_another_active_pool_its_owner_and_times_are_told(
    conn: volary.Connection, pool: volary.Pool, tmp_path: Path
) -> None:
    bases = conn.create_pool(
        volary.PoolSpec("bases", target=tmp_path / "bases"), volary.PoolStart.BUILD
    )
    base = bases.create_volume(volary.VolumeSpec("base", capacity=MIB, mode=0o604))
    spec: Any = volary.VolumeSpec("a", format="qcow2", backing=base)
    overlay = pool.create_volume(spec)
    assert "<mode>0604</mode>" in overlay.xml()
    bases.stop()
    written = overlay.xml()
    assert f"<path>{base.path}</path>" in written
    assert "<mode>0604</mode>" not in written


def test_a_volume_that_is_gone_is_not_described(pool: volary.Pool, target: Path) -> None:
    volume = pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    (target / "a").unlink()
    with pytest.raises(volary.VolumeNotFound):
        volume.xml()
