"""`volary pool define` and `volary vol create`, by documents and for pools of other types."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.api.cli.command import Run
from tests.conftest import NeedTool

MIB = 1 << 20


@pytest.fixture
def image(home: Path, need_tool: NeedTool) -> Path:
    """Make a disk's image with nothing on it."""
    need_tool("mkfs.ext4", "e2fsprogs")
    path = home / "disk.img"
    path.touch()
    os.truncate(path, 64 * MIB)
    return path


def test_a_pool_is_defined_by_a_document(run: Run, home: Path) -> None:
    (home / "pool.xml").write_text(
        "<pool type='zfs'><name>z</name><source><name>tank</name></source></pool>"
    )
    assert run("pool", "define", "--xml", str(home / "pool.xml")).out == "Pool 'z' defined.\n"
    assert "<path>/dev/zvol/tank</path>" in run("pool", "dumpxml", "z").out


def test_a_pool_without_a_backend_is_listed_and_says_so(run: Run, home: Path) -> None:
    (home / "pool.xml").write_text("<pool type='zfs'><name>z</name></pool>")
    run("pool", "define", "--xml", str(home / "pool.xml"))
    listed = run("pool", "list", "--type", "zfs")
    assert listed.out.splitlines()[1].split()[:3] == ["z", "zfs", "inactive"]
    assert "there is no backend yet" in listed.err
    assert run("pool", "list", "--type", "dir").out.count("\n") == 1
    assert "there is no backend yet" in run("pool", "start", "z").err


def test_a_document_goes_with_no_option_that_says_what_the_pool_is(run: Run, home: Path) -> None:
    refused = run("pool", "define", "--xml", "pool.xml", "--target", "/a")
    assert refused.status == 2
    assert "the document says what the pool is" in refused.err


def test_a_document_that_is_no_pool_says_where(run: Run, home: Path) -> None:
    (home / "pool.xml").write_text("<pool type='dir'>\n  <name>a/b</name>\n</pool>")
    refused = run("pool", "define", "--xml", str(home / "pool.xml"))
    assert refused.status != 0
    assert "line 2" in refused.err
    assert run("--json", "pool", "list").document == []


def test_a_definition_is_replaced_by_one_with_the_same_uuid(run: Run, home: Path) -> None:
    uuid = run("--json", "pool", "define", "a", "--target", str(home / "x")).document["uuid"]
    again = run("--json", "pool", "define", "a", "--target", str(home / "y"), "--uuid", uuid)
    assert again.document["target"] == f"{home}/y"
    assert run("pool", "define", "a", "--target", str(home / "z")).status != 0
    assert run("--json", "pool", "info", "a").document["target"] == f"{home}/y"


def test_a_redefinition_that_cannot_be_built_keeps_the_pool(run: Run, home: Path) -> None:
    uuid = run("--json", "pool", "define", "a", "--target", str(home / "x")).document["uuid"]
    (home / "file").touch()
    target = str(home / "file" / "y")
    assert run("pool", "define", "a", "--target", target, "--uuid", uuid, "--build").status != 0
    assert run("--json", "pool", "info", "a").document["uuid"] == uuid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_file_system_is_made_mounted_used_and_unmounted(
    run: Run, home: Path, image: Path
) -> None:
    place = home / "mount"
    pool = ("--type", "fs", "--source", str(image), "--format", "ext4", "--target", str(place))
    assert run("pool", "define", "f", *pool, "--no-overwrite").status == 0
    try:
        assert run("vol", "create", "a.raw", "1M", "--pool", "f").status == 0
        assert os.path.ismount(place)
        refused = run("pool", "build", "f", "--no-overwrite")
        assert "is mounted" in refused.err
        assert run("--json", "vol", "info", "a.raw", "--pool", "f").document["capacity"] == MIB
    finally:
        assert run("pool", "stop", "f").out == "Pool 'f' stopped.\n"
    assert not os.path.ismount(place)


def test_overwrite_and_no_overwrite_exclude_each_other(run: Run, home: Path) -> None:
    run("pool", "define", "a", "--target", str(home / "x"))
    refused = run("pool", "build", "a", "--overwrite", "--no-overwrite")
    assert "exclude each other" in refused.err


def test_other_types_are_defined_by_documents_only(run: Run, home: Path) -> None:
    assert "--xml" in run("pool", "define", "a", "--type", "zfs", "--target", "/a").err
    assert "unknown type 'x'" in run("pool", "define", "a", "--type", "x", "--target", "/a").err


def test_the_capabilities_tell_what_can_be_started(run: Run, home: Path) -> None:
    xml = run("pool", "capabilities").out
    assert "<pool type='fs' supported='yes'>" in xml
    assert "<pool type='zfs' supported='no'>" in xml


def test_what_pools_could_be_made_of_is_listed(run: Run, home: Path) -> None:
    assert isinstance(run("--json", "pool", "sources", "fs").document, list)
    assert "cannot" in run("pool", "sources", "dir").err


def test_a_volume_is_created_from_another_ones_document(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("vol", "create", "a.qcow2", "1M", "--format", "qcow2", "--cluster-size", "4096")
    xml = run("vol", "dumpxml", "a.qcow2").out.replace("a.qcow2", "b.qcow2")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(xml.encode())))
    made = json.loads(run("--json", "vol", "create", "--xml", "-").out)
    assert (made["name"], made["format"], made["capacity"]) == ("b.qcow2", "qcow2", MIB)
    assert "<clusterSize unit='B'>4096</clusterSize>" in run("vol", "dumpxml", "b.qcow2").out


def test_a_volumes_document_goes_with_no_option_about_it(run: Run, home: Path) -> None:
    refused = run("vol", "create", "--xml", "a.xml", "--prealloc", "full")
    assert refused.status == 2
    assert "prealloc" in refused.err


def test_a_document_in_a_file_is_refused_with_the_files_name(run: Run, home: Path) -> None:
    path = home / "pool.xml"
    path.write_text("<pool type='dir'>\n  <name>a/b</name>\n</pool>")
    assert run("pool", "define", "--xml", str(path)).err.startswith(f"volary: {path}: line 2")
    assert f"volary: {path}: line 1" in run("vol", "create", "--xml", str(path)).err


@pytest.mark.parametrize("option", ["--source=/dev/sdb1", "--format=ext4"])
def test_a_directory_has_neither_source_nor_format(run: Run, home: Path, option: str) -> None:
    refused = run("pool", "define", "a", "--target", str(home), option)
    assert (refused.status, "add --type" in refused.err) == (2, True)


@pytest.mark.parametrize("type_", ["fs", "disk"])
def test_a_pool_that_needs_a_device_says_which_option_names_it(
    run: Run, home: Path, type_: str
) -> None:
    refused = run("pool", "define", "a", "--type", type_, "--target", str(home))
    assert (refused.status, "--source" in refused.err) == (2, True)


def test_errors_name_options_rather_than_flags(run: Run, home: Path, image: Path) -> None:
    pool = ("--type", "fs", "--source", str(image), "--format", "ext4", "--target", f"{home}/m")
    run("pool", "define", "f", *pool, "--build")
    run("pool", "define", "d", "--target", f"{home}/d")
    unformatted = run("pool", "start", "f").err
    assert unformatted.endswith("; build the pool with --no-overwrite\n")
    assert run("pool", "build", "f", "--no-overwrite").status == 0
    assert "with --overwrite to lose it" in run("pool", "build", "f", "--no-overwrite").err
    assert "built without --overwrite:" in run("pool", "build", "d", "--overwrite").err
    assert "PoolBuild" not in run("--json", "pool", "build", "f", "--no-overwrite").err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_look_at_pools_mounts_nothing(run: Run, home: Path, image: Path) -> None:
    place = home / "mount"
    pool = ("--type", "fs", "--source", str(image), "--format", "ext4", "--target", str(place))
    run("pool", "define", "f", *pool, "--no-overwrite")
    assert run("--json", "pool", "list").document[0]["state"] == "inactive"
    assert "`start` mounts it" in run("pool", "info", "f").err
    run("pool", "dumpxml", "f")
    run("vol", "info", f"{home}/other/a.raw")
    assert "there is nothing to stop" in run("pool", "stop", "f").out
    assert not os.path.ismount(place)
    assert run("pool", "start", "f").status == 0
    try:
        assert run("--json", "pool", "list").document[0]["state"] == "running"
        told = run("--json", "pool", "info", "f").document
        assert (told["devices"], told["format"]) == ([str(image)], "ext4")
        assert run("pool", "undefine", "f").out.endswith(
            f"{place} stays mounted: umount ends that.\n"
        )
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_disk_that_is_undefined_is_named_rather_than_dev(run: Run, home: Path) -> None:
    run("pool", "define", "d", "--type", "disk", "--source", "/dev/no-such-disk")
    undefined = run("pool", "undefine", "d")
    assert undefined.out == "Pool 'd' undefined; /dev/no-such-disk stays as it is.\n"


def test_a_pool_without_a_target_is_not_at_the_current_directory(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "pool.xml").write_text(
        "<pool type='rbd'><name>r</name><source><name>r</name><host name='h'/></source></pool>"
    )
    run("pool", "define", "--xml", str(home / "pool.xml"))
    run("pool", "define", "here", "--target", str(home / "x"), "--build")
    run("vol", "create", "a.raw", "1M", "--pool", "here")
    monkeypatch.chdir(home / "x")
    assert run("--json", "vol", "info", "./a.raw").document["name"] == "a.raw"


def test_a_volume_is_found_by_its_key(run: Run, home: Path) -> None:
    run("pool", "define", "here", "--target", str(home / "x"), "--build")
    run("vol", "create", "a.raw", "1M", "--pool", "here")
    key = run("vol", "key", "a.raw", "--pool", "here").out.strip()
    assert run("--json", "vol", "info", key).document["name"] == "a.raw"
    assert "no volume has the key" in run("vol", "info", key.replace("a.raw", "b.raw")).err
