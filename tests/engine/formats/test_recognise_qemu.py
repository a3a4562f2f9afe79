"""What is recognised is what qemu-img info says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.conftest import NeedTool
from tests.engine.formats.header_lies import LIES, Lie
from tests.engine.formats.image_corpus import SAMPLES, Sample

from volary.engine.formats.probe import Probe
from volary.engine.formats.recognise import recognise
from volary.engine.image_info import ImageInfo

Qemu = Callable[..., subprocess.CompletedProcess[str]]


class Made(NamedTuple):
    """An image that qemu-img create makes: its format, its options, its size."""

    format: str
    options: str = ""
    size: str = "1M"
    backing: tuple[str, str] | None = None


_SECRET = ("--object", "secret,id=key,data=passphrase")
_LUKS = "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=20"

QCOW2_GRID = [
    Made("qcow2", f"compat={compat},cluster_size={cluster},{more}preallocation={preallocation}")
    for compat, more in (
        ("0.10", ""),
        ("1.1", "lazy_refcounts=off,"),
        ("1.1", "lazy_refcounts=on,"),
        ("1.1", "extended_l2=on,"),
        ("1.1", "refcount_bits=1,"),
        ("1.1", "compression_type=zstd,"),
    )
    for cluster in (512, 4096, 16384, 65536, 2 << 20)
    for preallocation in ("off", "metadata")
    if not ("extended_l2" in more and cluster < 16384)
]

CREATED = [
    *QCOW2_GRID,
    *(Made("qcow2", size=size) for size in ("0", "1", "511", "1T", "1P")),
    Made("qcow2", "preallocation=falloc"),
    Made("qcow2", "preallocation=full"),
    Made("qcow2", backing=("base", "raw")),
    Made("qcow2", "compat=0.10", backing=("base", "raw")),
    Made("qcow2", "cluster_size=512", backing=("base", "raw")),
    Made("qcow2", backing=("./base", "raw")),
    Made(
        "qcow2", backing=("json:" + json.dumps({"driver": "null-co", "size": 1 << 20}), "null-co")
    ),
    Made("qcow2", backing=("x" * 1023, "vmdk")),
    Made("qcow2", backing=("bäse 1", "qcow2")),
    Made("qcow2", _LUKS),
    Made("qcow2", "compat=0.10,encrypt.format=aes,encrypt.key-secret=key"),
    Made("qcow2", "data_file=data"),
    Made("qcow2", "data_file=data,data_file_raw=on"),
    Made("qcow"),
    Made("qcow", size="1T"),
    Made("qcow", backing=("base", "raw")),
    Made("qcow", "encrypt.format=aes,encrypt.key-secret=key"),
    Made("qed"),
    Made("qed", "cluster_size=4096,table_size=2"),
    Made("qed", "cluster_size=1048576,table_size=16"),
    Made("qed", size="1T"),
    Made("qed", backing=("base", "raw")),
    Made("qed", backing=("base", "qcow2")),
    Made("vmdk"),
    Made("vmdk", "subformat=monolithicFlat"),
    Made("vmdk", "subformat=twoGbMaxExtentSparse"),
    Made("vmdk", "subformat=twoGbMaxExtentSparse", "5G"),
    Made("vmdk", "subformat=twoGbMaxExtentFlat", "5G"),
    Made("vmdk", "subformat=streamOptimized"),
    Made("vmdk", "compat6=on"),
    Made("vmdk", "zeroed_grain=on", "1T"),
    Made("vdi"),
    Made("vdi", "static=on", "2M"),
    Made("vdi", size="0"),
    Made("vpc"),
    Made("vpc", size="1T"),
    Made("vpc", "force_size=on", "1G"),
    Made("vpc", "subformat=fixed"),
    Made("vhdx"),
    Made("vhdx", "subformat=fixed,block_size=1M"),
    Made("vhdx", "block_size=256M", "1T"),
    Made("parallels"),
    Made("parallels", "cluster_size=65536", "1G"),
    Made("raw"),
    Made("raw", size="0"),
    Made("raw", size="1T"),
]

NAMES = {"ploop": "parallels", "iso": "raw", "cow": "raw"}
"""What QEMU calls that which is recognised under libvirt's name, or what it takes it for."""


@pytest.fixture
def qemu_img(tmp_path: Path, need_tool: NeedTool) -> Qemu:
    """Run qemu-img in the test's directory."""
    command = need_tool("qemu-img", "qemu-utils")

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        while True:
            done = subprocess.run(
                [command, *arguments],
                check=False,
                cwd=tmp_path,
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",
            )
            # It times its own hashing for LUKS, and gives up where it was interrupted meanwhile.
            if "accurate CPU usage" not in done.stderr:
                break
        assert done.returncode == 0 or not check, done.stderr
        return done

    return run


def look(path: Path) -> ImageInfo:
    fd = os.open(path, os.O_RDONLY)
    try:
        return recognise(Probe(fd, os.fstat(fd).st_size, path.name))
    finally:
        os.close(fd)


def expected(said: dict[str, Any]) -> dict[str, Any]:
    """Return what qemu-img info says, in our words."""
    special = said.get("format-specific", {}).get("data", {})
    encryption = special.get("encrypt", {}).get("format")
    if encryption is None and said.get("encrypted"):
        encryption = "luks" if said["format"] == "luks" else "aes"
    backing = said.get("backing-filename")
    return {
        "format": said["format"],
        "capacity": said["virtual-size"],
        "compat": special.get("compat"),
        "lazy_refcounts": special.get("lazy-refcounts", False),
        "extended_l2": special.get("extended-l2", False),
        "encryption": encryption,
        "backing": None if backing is None else (backing, said.get("backing-filename-format")),
        "data_file": special.get("data-file"),
    }


def recognised(info: ImageInfo) -> dict[str, Any]:
    """Return the same of what was recognised."""
    backing = None
    if info.backing is not None:  # whose name's bytes QEMU puts into JSON as far as they are UTF-8
        name = os.fsencode(info.backing.name).decode("utf-8", "replace")
        backing = (name, info.backing.format)
    return {
        "format": NAMES.get(info.format, info.format),
        "capacity": info.capacity,
        "compat": info.compat,
        "lazy_refcounts": info.lazy_refcounts,
        "extended_l2": info.extended_l2,
        "encryption": info.encryption,
        "backing": backing,
        "data_file": None if info.format == "vmdk" else info.data_file,
    }


def compare(info: ImageInfo, said: dict[str, Any]) -> None:
    """Compare the two; QEMU says no cluster size of some formats that have one."""
    wanted, got = expected(said), recognised(info)
    if said["format"] == "raw":
        wanted["capacity"] = got["capacity"] = -(-got["capacity"] // 512) * 512
    assert info.problem is None
    assert got == wanted
    if "cluster-size" in said and info.cluster_size is not None:
        assert info.cluster_size == said["cluster-size"]


@pytest.mark.parametrize(
    "made", CREATED, ids=lambda made: f"{made.format}-{made.options}-{made.size}"[:60]
)
def test_an_image_of_qemu_is_recognised(tmp_path: Path, qemu_img: Qemu, made: Made) -> None:
    (tmp_path / "base").write_bytes(bytes(1 << 20))
    arguments = ["create", "-q", *_SECRET, "-f", made.format]
    if made.backing is not None:
        # With -u, so that what is not there can be named as well.
        name, format = made.backing  # noqa: A001
        arguments += ["-u", "-b", name, "-F", format]
    if made.options:
        arguments += ["-o", made.options]
    qemu_img(*arguments, "image", made.size)
    said = json.loads(qemu_img("info", "--output=json", "image").stdout)
    compare(look(tmp_path / "image"), said)


@pytest.mark.parametrize(
    "sample",
    [
        sample
        for sample in SAMPLES
        # No tool needs these to be whole but QEMU itself, which makes its own above; of LUKS2 and
        # of the old cow it knows nothing.
        if not sample.name.startswith(("vhdx", "luks", "cow", "qcow2-v3-luks"))
    ],
    ids=lambda sample: sample.name,
)
def test_qemu_says_the_same_of_the_corpus(tmp_path: Path, qemu_img: Qemu, sample: Sample) -> None:
    image = tmp_path / sample.name
    image.write_bytes(sample.data)
    for extent in ("image-f001.vmdk", "image-f002.vmdk"):
        (tmp_path / extent).write_bytes(bytes(1 << 20))
    said = json.loads(qemu_img("info", "--output=json", "-U", image.name).stdout)
    if sample.name == "vpc-parent":  # which QEMU takes for one without
        assert said["format"] == "vpc"
        return
    compare(look(image), said)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: f"{lie.sample}-{lie.says}".replace(" ", "-"))
def test_qemu_refuses_a_lie_as_well(tmp_path: Path, qemu_img: Qemu, lie: Lie) -> None:
    image = tmp_path / lie.sample
    image.write_bytes(lie.data)
    for extent in ("image-f001.vmdk", "image-f002.vmdk"):
        (tmp_path / extent).write_bytes(bytes(1 << 20))
    assert (qemu_img("info", image.name, check=False).returncode != 0) is lie.qemu


@pytest.mark.parametrize(("kind", "payload"), [("luks1", 2 << 20), ("luks2", 16 << 20)])
def test_a_luks_is_recognised(
    tmp_path: Path, need_tool: NeedTool, qemu_img: Qemu, kind: str, payload: int
) -> None:
    # qemu-img makes LUKS 1, too, but takes seconds to find out how many iterations take one.
    cryptsetup = need_tool("cryptsetup", "cryptsetup-bin")
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 32 << 20)
    subprocess.run(
        [
            *(cryptsetup, "luksFormat", "--batch-mode", f"--type={kind}", "--disable-locks"),
            *("--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", "--key-file=-", image),
        ],
        check=True,
        input=b"passphrase",
    )
    info = look(image)
    assert info == ImageInfo("luks", (32 << 20) - payload, encryption="luks")
    if kind == "luks1":  # QEMU takes the second version for raw
        compare(info, json.loads(qemu_img("info", "--output=json", "image").stdout))
