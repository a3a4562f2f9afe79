from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import NeedTool
from tests.engine.formats.qemu_images import MIB, a_raw, opened, qemu_img

from volary.engine.errors import Unsupported, VolumeUnreadable
from volary.engine.formats.open_image import OpenImage
from volary.engine.formats.probe import Probe
from volary.engine.formats.qemu_convert import convert
from volary.engine.formats.qemu_resize import finish
from volary.engine.formats.recognise import recognise
from volary.engine.formats.secret_file import open_secret
from volary.engine.image_info import BackingFile, ImageInfo
from volary.engine.secret import Secret


@pytest.mark.parametrize(
    ("info", "why"),
    [
        (ImageInfo("qcow2", MIB, data_file="/etc/passwd"), "another file"),
        (ImageInfo("qcow2", MIB, problem="the L1 table is beyond the end"), "the L1 table"),
        (ImageInfo("qcow2", MIB, backing=BackingFile("base", "raw")), "'base' is not open"),
        (ImageInfo("luks", MIB, encryption="luks"), "is encrypted"),
    ],
)
def test_what_must_not_be_handed_to_qemu_is_refused(info: ImageInfo, why: str) -> None:
    with pytest.raises(VolumeUnreadable, match=rf"^disk.*{why}"):
        OpenImage.of(0, info, name="disk")


def test_a_format_that_qemu_does_not_read_is_refused() -> None:
    with pytest.raises(Unsupported, match="dir"):
        OpenImage.of(0, ImageInfo("dir", 0))


def test_an_image_is_what_its_header_says() -> None:
    base = OpenImage(4, "raw", MIB)
    info = ImageInfo("qcow2", MIB, encryption="luks", backing=BackingFile("base", "raw"))
    image = OpenImage.of(5, info, name="disk", backing=base, secret=Secret("key"))
    assert image == OpenImage(5, "qcow2", MIB, "disk", base, Secret(b"key"))
    assert list(image.chain()) == [image, base]


def test_a_secret_file_cannot_be_changed() -> None:
    fd = open_secret(Secret("password"))
    try:
        assert os.pread(fd, 100, 0) == b"password"
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"x", 0)
    finally:
        os.close(fd)


def a_qcow2_with_a_data_file(path: Path) -> None:
    data = path.with_name("data")
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={data}", path, MIB)


def a_vmdk_with_an_extent_elsewhere(path: Path) -> None:
    # Where the header's capacity is 0, QEMU goes by the descriptor.
    header = struct.pack("<4sII5Q", b"KDMV", 1, 3, 0, 128, 1, 20, 512)
    descriptor = (
        b'# Disk DescriptorFile\ncreateType="monolithicFlat"\nRW 1 FLAT "/etc/hostname" 0\n'
    )
    path.write_bytes(header.ljust(512, b"\0") + descriptor.ljust(MIB, b"\0"))


@pytest.mark.parametrize("make", [a_qcow2_with_a_data_file, a_vmdk_with_an_extent_elsewhere])
def test_an_image_whose_data_qemu_would_take_from_elsewhere_is_refused(
    tmp_path: Path, need_tool: NeedTool, make: Callable[[Path], None]
) -> None:
    need_tool("qemu-img", "qemu-utils")
    path = tmp_path / "disk"
    make(path)
    with opened(path, "", 0) as image:
        info = recognise(Probe(image.fd, path.stat().st_size))
        with pytest.raises(VolumeUnreadable, match=r"^disk has its data in another file"):
            OpenImage.of(image.fd, info, name="disk")


@pytest.mark.parametrize("format_", ["qcow2", "qed", "qcow"])
def test_a_backing_file_that_a_header_names_is_not_opened(
    tmp_path: Path, need_tool: NeedTool, format_: str
) -> None:
    need_tool("qemu-img", "qemu-utils")
    a_raw(tmp_path / "base", MIB, (0, MIB, 7))
    qemu_img("create", "-q", "-f", format_, "-b", "base", "-F", "raw", tmp_path / "overlay")
    a_raw(tmp_path / "copy", MIB)
    with (
        opened(tmp_path / "overlay", format_, MIB) as overlay,
        opened(tmp_path / "copy", "raw", MIB) as copy,
    ):
        finish(convert(overlay, copy))
    assert (tmp_path / "copy").read_bytes() == bytes(MIB)


def test_no_file_but_those_that_are_open_is_opened_as_an_image(
    tmp_path: Path, need_tool: NeedTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_tool("qemu-img", "qemu-utils")
    strace = need_tool("strace", "strace")
    real = need_tool("qemu-img", "qemu-utils")
    a_raw(tmp_path / "base", MIB, (0, MIB, 7))
    qemu_img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", tmp_path / "middle")
    overlay = tmp_path / "overlay"
    qemu_img("create", "-q", "-f", "qcow2", "-b", "middle", "-F", "qcow2", overlay)
    a_raw(tmp_path / "copy", MIB)
    (tmp_path / "bin").mkdir()
    traced = tmp_path / "bin" / "qemu-img"
    trace = tmp_path / "trace"
    traced.write_text(f'#!/bin/sh\nexec {strace} -f -qq -e trace=%file -o {trace} {real} "$@"\n')
    traced.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with (
        opened(tmp_path / "base", "raw", MIB) as base,
        opened(tmp_path / "middle", "qcow2", MIB, backing=base) as middle,
        opened(overlay, "qcow2", MIB, backing=middle) as top,
        opened(tmp_path / "copy", "raw", MIB) as copy,
    ):
        finish(convert(top, copy))
        ours = {f"/proc/self/fd/{image.fd}" for image in (base, middle, top, copy)}
    text = trace.read_text()
    assert str(tmp_path / "base") not in text
    assert str(tmp_path / "middle") not in text
    opens = {line.split('"')[1] for line in text.splitlines() if "/proc/self/fd" in line}
    assert opens == ours
    assert (tmp_path / "copy").read_bytes() == b"\7" * MIB
