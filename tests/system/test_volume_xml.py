"""The files of one directory, as `virsh vol-dumpxml` and as `Volume.xml` describe them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import NeedTool
from tests.system.own_libvirtd import SystemLibvirtd

import volary

_MIB = 1 << 20
_KEY = re.compile(r"  <key>.*</key>\n")
_TIMES = re.compile(r"(?<=time>)[0-9.]+")
"""libvirt 9.0.0 does not ask for the time of birth, and reading a file changes that of access."""

_LABEL = "system_u:object_r:virt_image_t:s0"
_IMAGES = {
    "old.qcow2": "qcow2 -o compat=0.10",
    "new.qcow2": "qcow2",
    "small.qcow2": "qcow2 -o cluster_size=4096,lazy_refcounts=on",
    "wide.qcow2": "qcow2 -o extended_l2=on,lazy_refcounts=on",
    "over-raw.qcow2": "qcow2 -F raw -b {folder}/sparse.raw",
    "over-qcow2.qcow2": "qcow2 -F qcow2 -b new.qcow2",
    "over-an-overlay.qcow2": "qcow2 -F qcow2 -b over-qcow2.qcow2",
    "over-nothing.qcow2": "qcow2 -F raw -u -b nothing.raw",
    "over-the-network.qcow2": "qcow2 -F raw -u -b nbd://host/export",
    "over-raw.qed": "qed -F raw -b sparse.raw",
    "a.qed": "qed",
    "a.vdi": "vdi",
    "a.vmdk": "vmdk",
    "over.vmdk": "vmdk -F vmdk -b a.vmdk",
    "a.vpc": "vpc -o force_size=on",
    "a.qcow": "qcow",
    "encrypted.qcow": "qcow --object secret,id=s,data=aaaa -o encrypt.format=aes,"
    "encrypt.key-secret=s",
}
_FILES = ("sparse.raw", "empty", "odd", "labelled", "directory", "a&b <c>'\".raw", "über raw")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, need_tool: NeedTool) -> Path:
    """A directory with a file of each kind."""
    qemu_img = need_tool("qemu-img", "qemu-utils")
    folder = tmp_path_factory.mktemp("described")
    for name in _FILES:
        if name == "directory":
            (folder / name).mkdir(mode=0o750)
            continue
        (folder / name).write_bytes(b"x" * 700 if name in ("odd", "labelled") else b"")
    os.truncate(folder / "sparse.raw", 64 * _MIB)
    (folder / "odd").chmod(0o7751)
    os.chown(folder / "odd", 107, 36)
    os.setxattr(folder / "labelled", "security.selinux", _LABEL.encode() + b"\0")
    for name, options in _IMAGES.items():
        arguments = options.format(folder=folder).split()
        subprocess.run(
            [qemu_img, "create", "-q", "-f", *arguments, name, str(_MIB)], cwd=folder, check=True
        )
    return folder


@pytest.fixture(scope="module")
def theirs(system_libvirtd: SystemLibvirtd, folder: Path) -> Iterator[dict[str, str]]:
    """What libvirt says of each."""
    pool = system_libvirtd.connection.storagePoolCreateXML(
        f"<pool type='dir'><name>described</name><target><path>{folder}</path></target></pool>"
    )
    yield {volume.name(): volume.XMLDesc() for volume in pool.listAllVolumes()}
    pool.destroy()


@pytest.fixture(scope="module")
def ours(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[volary.Pool]:
    """A pool of ours on the same directory."""
    with volary.open(state_dir=tmp_path_factory.mktemp("state")) as conn:
        yield conn.create_pool(volary.PoolSpec("described", target=folder))


@pytest.mark.parametrize("name", [*_IMAGES, *_FILES])
def test_a_volume_is_described_as_libvirt_does(
    theirs: dict[str, str], ours: volary.Pool, name: str
) -> None:
    assert _plain(ours.volume(name).xml()) == _plain(theirs[name])


def _plain(document: str) -> str:
    return _KEY.sub("", _TIMES.sub("", document))


def test_of_a_backing_file_outside_the_pools_only_the_name_is_told(
    ours: volary.Pool, tmp_path: Path
) -> None:
    """libvirt opens it, whoever wrote its name into the header."""
    (tmp_path / "outside.raw").write_bytes(b"")
    spec = volary.VolumeSpec(
        "out.qcow2",
        capacity=_MIB,
        format="qcow2",
        backing=str(tmp_path / "outside.raw"),
        backing_format="raw",
    )
    document = ours.create_volume(spec).xml()
    backing = document[document.index("  <backingStore>") :]
    assert backing == (
        f"  <backingStore>\n    <path>{tmp_path}/outside.raw</path>\n"
        "    <format type='raw'/>\n  </backingStore>\n</volume>\n"
    )
