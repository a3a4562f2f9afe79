"""What is recognised is what libvirt says, where it says something."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from tests.conftest import NeedTool
from tests.engine.formats.header_lies import LIES
from tests.engine.formats.image_corpus import SAMPLES
from tests.system.own_libvirtd import OwnLibvirt, own_libvirt

from volary.engine.formats.probe import Probe
from volary.engine.formats.recognise import recognise
from volary.engine.image_info import ImageInfo

MADE = {
    "made-qcow2": ("qcow2", "", None),
    "made-qcow2-v2": ("qcow2", "compat=0.10,cluster_size=512", None),
    "made-qcow2-2M": ("qcow2", "cluster_size=2M", None),
    "made-qcow2-lazy": ("qcow2", "lazy_refcounts=on", None),
    "made-qcow2-subclusters": ("qcow2", "extended_l2=on,lazy_refcounts=on", None),
    "made-qcow2-data-file": ("qcow2", "data_file=data", None),
    "made-qcow2-over-raw": ("qcow2", "", "raw"),
    "made-qcow2-over-qcow2": ("qcow2", "", "qcow2"),
    "made-qcow2-v2-over-raw": ("qcow2", "compat=0.10", "raw"),
    "made-qcow": ("qcow", "", None),
    "made-qcow-over-raw": ("qcow", "", "raw"),
    "made-qed": ("qed", "cluster_size=4096", None),
    "made-qed-over-raw": ("qed", "", "raw"),
    "made-vmdk": ("vmdk", "", None),
    "made-vmdk-stream": ("vmdk", "subformat=streamOptimized", None),
    "made-vmdk-over-vmdk": ("vmdk", "", "vmdk"),
    "made-vdi": ("vdi", "", None),
    "made-vpc": ("vpc", "", None),
    "made-vpc-fixed": ("vpc", "subformat=fixed", None),
    "made-raw": ("raw", "", None),
}
"""Images of qemu-img by their names: format, options, and the format of the backing file."""

LIBVIRT_KNOWS_NOT = {"vhdx", "bochs", "cloop", "dmg"}
ELSEWHERE_DESCRIBED = {"vmdk-esx", "vmdk-text", "ploop-old", "luks2", "luks2-half-encrypted-anew"}
"""What libvirt takes for raw though it knows another kind of the format."""

DIFFERENT = {
    "qcow2-with-iso-within": "libvirt looks for an ISO first, whoever wrote it there",
    "qed-backing": "libvirt ends with an error of its own",
    "vpc-parent": "libvirt does not look for parents of VHD",
}
"""Where the two say different things, and why: docs/decisions has the same list."""


@pytest.fixture(scope="module")
def libvirt(need_tool: NeedTool) -> Iterator[OwnLibvirt]:
    """A daemon with a pool that has all the images."""
    qemu_img = need_tool("qemu-img", "qemu-utils")
    with own_libvirt(need_tool) as daemon:
        for backing in ("raw", "qcow2", "vmdk"):
            make(qemu_img, daemon.images, f"base.{backing}", backing)
        for name, (kind, options, backing_format) in MADE.items():
            more = ["-o", options] if options else []
            if backing_format:
                more += ["-b", f"base.{backing_format}", "-F", backing_format]
            make(qemu_img, daemon.images, name, kind, *more)
        for sample in SAMPLES:
            path = daemon.images / sample.name
            path.write_bytes(sample.data)
            os.truncate(path, max(sample.size, len(sample.data)))
        for number, lie in enumerate(LIES):
            (daemon.images / f"lie-{number}").write_bytes(lie.data)
        yield daemon


@pytest.fixture(scope="module")
def said(libvirt: OwnLibvirt) -> dict[str, etree._Element]:
    """What libvirt says of each."""
    return libvirt.refresh()


def make(qemu_img: str, images: Path, name: str, kind: str, *options: str) -> None:
    command = [qemu_img, "create", "-q", "-f", kind, *options, name, "8M"]
    subprocess.run(command, check=True, cwd=images)


def look(images: Path, name: str) -> ImageInfo:
    fd = os.open(images / name, os.O_RDONLY)
    try:
        return recognise(Probe(fd, os.fstat(fd).st_size, name))
    finally:
        os.close(fd)


def theirs(volume: etree._Element) -> dict[str, Any]:
    """Return what libvirt says."""

    def kind(path: str) -> str | None:
        element = volume.find(path)
        return None if element is None else element.get("type") or element.get("format")

    features = volume.find("target/features")
    cluster = volume.findtext("target/clusterSize")
    return {
        "format": kind("target/format"),
        "capacity": int(str(volume.findtext("capacity"))),
        "compat": volume.findtext("target/compat"),
        "features": set() if features is None else {str(each.tag) for each in features},
        "cluster_size": None if cluster is None else int(cluster),
        "encryption": kind("target/encryption"),
        "backing": volume.findtext("backingStore/path"),
        "backing_format": kind("backingStore/format"),
    }


def ours(images: Path, name: str) -> dict[str, Any]:
    """Return what was recognised, in the words that libvirt has for it."""
    info = look(images, name)
    backing = backing_format = None
    if info.backing is not None:
        path = info.backing.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        # It makes a path absolute, and takes what is not there for raw.
        backing = path if path.startswith("json:") else str(images / path)
        backing_format = info.backing.format or "raw"
        if not (images / path).exists():
            backing_format = "raw"
    features = {"lazy_refcounts": info.lazy_refcounts, "extended_l2": info.extended_l2}
    size = (images / name).stat().st_size
    return {
        # LUKS is how something raw is encrypted.
        "format": "raw" if info.format == "luks" else info.format,
        # Of a ploop image it says how large the file is.
        "capacity": size if info.format == "ploop" else info.capacity,
        "compat": None if info.compat == "0.10" else info.compat,
        "features": {feature for feature, is_set in features.items() if is_set},
        # It says none of the other formats'.
        "cluster_size": info.cluster_size if info.format == "qcow2" else None,
        "encryption": "qcow" if info.encryption == "aes" else info.encryption,
        "backing": backing,
        "backing_format": backing_format,
    }


@pytest.mark.parametrize("name", [*MADE, *(sample.name for sample in SAMPLES)])
def test_libvirt_says_the_same(
    libvirt: OwnLibvirt, said: dict[str, etree._Element], name: str
) -> None:
    kind = look(libvirt.images, name).format
    if name in DIFFERENT:
        assert name not in said or theirs(said[name]) != ours(libvirt.images, name)
    elif kind in LIBVIRT_KNOWS_NOT or name in ELSEWHERE_DESCRIBED:
        assert theirs(said[name])["format"] == "raw"
    else:
        assert theirs(said[name]) == ours(libvirt.images, name)


@pytest.mark.parametrize("number", range(len(LIES)))
def test_libvirt_takes_a_lie_for_the_same_format(
    libvirt: OwnLibvirt, said: dict[str, etree._Element], number: int
) -> None:
    if (volume := said.get(f"lie-{number}")) is None:  # which it gave up
        return
    kind = theirs(volume)["format"]
    assert kind in ("raw", look(libvirt.images, f"lie-{number}").format)
