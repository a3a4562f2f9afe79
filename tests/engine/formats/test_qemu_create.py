from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from tests.conftest import NeedTool
from tests.engine.formats.qemu_images import MIB, described, opened, qemu_img, qemu_io

from volary.engine.encryption import Encryption
from volary.engine.errors import InvalidSpec, ToolFailed, ToolMissing
from volary.engine.formats.open_image import OpenImage
from volary.engine.formats.qemu_check import check
from volary.engine.formats.qemu_create import create
from volary.engine.formats.qemu_resize import finish
from volary.engine.volume_spec import VolumeSpec

PASSWORD = "not on the command line"


@pytest.fixture(autouse=True)
def _qemu(need_tool: NeedTool) -> None:
    need_tool("qemu-img", "qemu-utils")
    need_tool("qemu-io", "qemu-utils")


def made(path: Path, spec: VolumeSpec, backing: OpenImage | None = None) -> Path:
    with opened(path, spec.format, spec.capacity or 0) as image:
        finish(create(image.fd, spec, backing=backing))
    return path


@pytest.mark.parametrize("format_", ["qed", "vmdk", "vdi", "vpc"])
@pytest.mark.parametrize("capacity", [1, 512, 10 * MIB + 512, 100 << 30])
def test_an_image_has_the_capacity_that_was_asked_for(
    tmp_path: Path, format_: str, capacity: int
) -> None:
    path = made(tmp_path / "disk", VolumeSpec("disk", capacity=capacity, format=format_))
    said = qemu_img("info", "-f", format_, "--output=json", path)
    assert f'"virtual-size": {-(-capacity // 512) * 512},' in said
    qemu_io(path, format_, "write -P 7 0 512", "read -P 7 0 512")


@pytest.mark.parametrize("format_", ["qed", "vmdk", "vdi"])
def test_a_new_image_passes_its_check(tmp_path: Path, format_: str) -> None:
    path = made(tmp_path / "disk", VolumeSpec("disk", capacity=10 * MIB, format=format_))
    with opened(path, format_, 10 * MIB) as image:
        found = finish(check(image))
    assert (found.corruptions, found.leaks) == (0, 0)


def test_an_unnamed_file_becomes_an_image(tmp_path: Path) -> None:
    try:
        fd = os.open(tmp_path, os.O_RDWR | os.O_TMPFILE, 0o600)
    except OSError as error:
        pytest.skip(f"{tmp_path} has no unnamed files: {error}")
    try:
        finish(create(fd, VolumeSpec("disk", capacity=MIB, format="vdi")))
        assert os.pread(fd, 64, 0).startswith(b"<<< QEMU VM Virtual Disk Image >>>")
    finally:
        os.close(fd)


def test_a_qed_has_the_clusters_that_were_asked_for(tmp_path: Path) -> None:
    spec = VolumeSpec("disk", capacity=10 * MIB, format="qed", cluster_size=4096)
    assert described(made(tmp_path / "disk", spec))["cluster-size"] == 4096


def test_a_backing_file_is_noted_and_not_opened(tmp_path: Path) -> None:
    spec = VolumeSpec(
        "disk", capacity=MIB, format="qed", backing="not,there", backing_format="raw"
    )
    said = qemu_img("info", "-U", made(tmp_path / "disk", spec))
    assert "backing file: not,there" in said
    assert "backing file format: raw" in said


def test_the_descriptor_of_a_vmdk_bears_the_name_of_the_volume(tmp_path: Path) -> None:
    path = made(tmp_path / "x", VolumeSpec("täglich.vmdk", capacity=10 * MIB, format="vmdk"))
    assert 'RW 20480 SPARSE "täglich.vmdk"\n'.encode() in path.read_bytes()[:2048]


def test_an_overlay_of_a_vmdk_notes_the_name_and_the_content_below(tmp_path: Path) -> None:
    base = made(tmp_path / "base", VolumeSpec("base", capacity=MIB, format="vmdk"))
    qemu_io(base, "vmdk", "write -P 7 0 64k")
    spec = VolumeSpec("top", capacity=MIB, format="vmdk", backing="base", backing_format="vmdk")
    with opened(base, "vmdk", MIB) as below:
        top = made(tmp_path / "top", spec, below)
    assert b'parentFileNameHint="base"' in top.read_bytes()[:2048]
    qemu_io(top, "vmdk", "read -P 7 0 64k", "read -P 0 64k 64k")


def test_an_overlay_of_a_vmdk_needs_the_image_below(tmp_path: Path) -> None:
    spec = VolumeSpec("top", capacity=MIB, format="vmdk", backing="base", backing_format="vmdk")
    with pytest.raises(InvalidSpec, match="the backing file of a vmdk is a vmdk"):
        made(tmp_path / "top", spec)


def test_a_name_that_a_vmdk_cannot_note_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match="quotation mark"):
        made(tmp_path / "x", VolumeSpec('a"b', capacity=MIB, format="vmdk"))


def test_a_luks_image_is_opened_by_its_secret_which_no_command_line_shows(
    tmp_path: Path,
) -> None:
    spec = VolumeSpec(
        "disk",
        capacity=8 * MIB,
        format="luks",
        preallocation="falloc",
        encryption=Encryption(PASSWORD, cipher="aes-128", hash="sha512"),
    )
    shown: list[str] = []
    with opened(tmp_path / "disk", "luks", 8 * MIB) as image:
        for _ in create(image.fd, spec):
            for child in psutil.Process().children():
                shown += [*child.cmdline(), *child.environ().values()]
        assert os.fstat(image.fd).st_blocks * 512 >= 8 * MIB
    assert any(word.startswith("secret,id=") for word in shown)
    assert PASSWORD not in "\n".join(shown)
    assert PASSWORD.encode() not in (tmp_path / "disk").read_bytes()
    luks = described(tmp_path / "disk")["format-specific"]["data"]
    assert (luks["cipher-alg"], luks["hash-alg"]) == ("aes-128", "sha512")
    key = tmp_path / "key"
    key.write_text(PASSWORD)
    options = f"driver=luks,key-secret=key,file.filename={tmp_path / 'disk'}"
    secret = f"secret,id=key,file={key}"
    said = qemu_img("info", "--object", secret, "--image-opts", "--output=json", options)
    assert f'"virtual-size": {8 * MIB},' in said


def test_an_encrypted_qcow2_has_its_other_options(tmp_path: Path) -> None:
    spec = VolumeSpec(
        "disk",
        capacity=16 * MIB,
        format="qcow2",
        cluster_size=16384,
        lazy_refcounts=True,
        extended_l2=True,
        backing="base,of,all",
        backing_format="raw",
        preallocation="falloc",
        encryption=Encryption(PASSWORD),
    )
    said = described(made(tmp_path / "disk", spec))
    assert said["actual-size"] >= 16 * MIB
    data = said["format-specific"]["data"]
    assert (said["encrypted"], data["encrypt"]["format"]) == (True, "luks")
    assert (said["cluster-size"], said["backing-filename"]) == (16384, "base,of,all")
    assert (data["lazy-refcounts"], data["extended-l2"], data["compat"]) == (True, True, "1.1")


def test_an_encryption_that_qemu_does_not_know_is_told_in_its_words(tmp_path: Path) -> None:
    how = Encryption(PASSWORD, cipher="rot-13")
    with pytest.raises(ToolFailed, match=r"^qemu-img create: .*'rot-13'"):
        made(tmp_path / "x", VolumeSpec("x", capacity=MIB, format="luks", encryption=how))


def test_qemu_img_missing_is_told_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, need_tool: NeedTool
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "prlimit").symlink_to(need_tool("prlimit", "util-linux"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ToolMissing, match=r"qemu-img is not installed.* package qemu-utils"):
        made(tmp_path / "x", VolumeSpec("x", capacity=MIB, format="vdi"))
