"""The kinds of pool that every backend's tests run over."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from tests.conftest import NeedTool

from volary.engine.flags import PoolBuild
from volary.engine.pool_source import PoolSource, SourceDevice
from volary.engine.pool_spec import PoolSpec
from volary.engine.volume_spec import VolumeSpec

MIB = 1 << 20


class PoolKind(ABC):
    """A kind of pool, and what it can do.

    build: the flags to build it with.
    at_first: the volumes that it has when it was just built.
    granule: bytes that a volume's capacity is a multiple of: it may be up to one more than asked.
    alone: whether nobody else takes of its space.
    sparse: whether a volume takes no space until it is written.
    clones, resizes: whether its volumes can be cloned and resized.
    """

    name: str
    build = PoolBuild.NONE
    at_first: frozenset[str] = frozenset()
    granule = 1
    alone = True
    sparse = True
    clones = True
    resizes = True

    @abstractmethod
    def make(self, folder: Path, need_tool: NeedTool) -> AbstractContextManager[PoolSpec]:
        """Have a pool that could be built, all in a new directory, as a context."""

    def volume(
        self,
        pool: PoolSpec,
        number: int,
        capacity: int,
        allocation: int | None = None,
    ) -> VolumeSpec:
        """Return what the pool's volume of that number, from 1 on, is to be."""
        return VolumeSpec(f"volume {number}", capacity=capacity, allocation=allocation)


class DirectoryKind(PoolKind):
    """A directory on the file system that the tests run on."""

    name = "dir"
    alone = False

    @contextmanager
    def make(self, folder: Path, need_tool: NeedTool) -> Iterator[PoolSpec]:
        """Have a directory that is to be made."""
        yield PoolSpec("pool", target=folder / "pool", uuid=uuid4())


class FileSystemKind(PoolKind):
    """A file system on a loop device, or in an image that the pool is to attach itself."""

    build = PoolBuild.NO_OVERWRITE

    def __init__(
        self,
        format: str,  # noqa: A002 - libvirt's word
        size: int,
        *,
        image: bool = False,
        options: tuple[str, ...] = (),
        sparse: bool = True,
        at_first: frozenset[str] = frozenset(),
    ) -> None:
        self.name = f"fs-{format}{'-image' if image else ''}"
        self.format = format
        self.size = size
        self.image = image
        self.options = options
        self.sparse = sparse
        self.at_first = at_first

    @contextmanager
    def make(self, folder: Path, need_tool: NeedTool) -> Iterator[PoolSpec]:
        """Have a device or image with nothing on it, and no directory to mount it on."""
        for tool, package in (
            (f"mkfs.{self.format}", _PACKAGES[self.format]),
            ("wipefs", "util-linux"),
            ("mount", "mount"),
        ):
            need_tool(tool, package)
        image = folder / "image"
        image.touch()
        os.truncate(image, self.size)
        if self.image:
            yield self.pool(folder, str(image))
        else:
            with loop_device(image, need_tool) as device:
                yield self.pool(folder, device)

    def pool(self, folder: Path, device: str) -> PoolSpec:
        """Return what a pool on that device is."""
        return PoolSpec(
            "pool",
            type="fs",
            target=folder / "pool",
            source=PoolSource(devices=(SourceDevice(device),), format=self.format),
            uuid=uuid4(),
            mount_options=self.options,
        )


class DiskKind(PoolKind):
    """A disk, which is a loop device."""

    build = PoolBuild.NO_OVERWRITE
    granule = 512
    sparse = False

    def __init__(self, label: str) -> None:
        self.name = f"disk-{label}"
        self.label = label

    @contextmanager
    def make(self, folder: Path, need_tool: NeedTool) -> Iterator[PoolSpec]:
        """Have a disk with nothing on it."""
        for tool, package in (
            ("sfdisk", "fdisk"),
            ("wipefs", "util-linux"),
            ("partx", "util-linux"),
        ):
            need_tool(tool, package)
        image = folder / "disk"
        image.touch()
        os.truncate(image, 256 * MIB)
        with loop_device(image, need_tool) as device:
            try:
                yield self.pool(device)
            finally:
                # Those of a loop device that is detached would stay.
                subprocess.run(["partx", "--delete", device], check=False, capture_output=True)

    def pool(self, device: str) -> PoolSpec:
        """Return what a pool on that device is."""
        return PoolSpec(
            "pool",
            type="disk",
            target="/dev",
            source=PoolSource(devices=(SourceDevice(device),), format=self.label),
            uuid=uuid4(),
        )

    def volume(
        self,
        pool: PoolSpec,
        number: int,
        capacity: int,
        allocation: int | None = None,
    ) -> VolumeSpec:
        """Return what the partition of that number is to be."""
        name = f"{os.path.basename(pool.source.devices[0].path)}p{number}"
        return VolumeSpec(name, capacity=capacity, allocation=allocation)


_PACKAGES = {
    "ext4": "e2fsprogs",
    "xfs": "xfsprogs",
    "btrfs": "btrfs-progs",
    "vfat": "dosfstools",
}


@contextmanager
def loop_device(image: Path, need_tool: NeedTool) -> Iterator[str]:
    """Have the image attached to a loop device, which is given."""
    if os.geteuid() != 0:
        pytest.skip("attaching a loop device needs root: run the tests as root")
    losetup = need_tool("losetup", "mount")
    attach = [losetup, "--find", "--show", "--partscan", str(image)]
    device = subprocess.run(attach, capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run([losetup, "--detach", device], check=True)


_LOST_FOUND = frozenset({"lost+found"})
_FILE_SYSTEMS = (
    FileSystemKind("ext4", 160 * MIB, at_first=_LOST_FOUND),
    FileSystemKind("ext4", 160 * MIB, image=True, at_first=_LOST_FOUND),
    # These sizes are near the least that their tools accept.
    FileSystemKind("xfs", 304 * MIB),
    # commit=1: btrfs gives space back when it commits, and a test waits for that.
    FileSystemKind("btrfs", 256 * MIB, options=("commit=1",)),
    FileSystemKind("vfat", 160 * MIB, sparse=False),
)


def _mountable() -> frozenset[str]:
    """Return the file systems that this kernel can mount: built in, or modules it would load.

    A missing tool can be installed; a missing driver cannot, so that nothing is collected for it.
    """
    known = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}
    modules = Path("/lib/modules", os.uname().release, "modules.dep")
    loadable = modules.read_text() if modules.exists() else ""
    return frozenset(known | {name for name in _PACKAGES if f"/{name}.ko" in loadable})


KINDS: tuple[PoolKind, ...] = (
    DirectoryKind(),
    *(kind for kind in _FILE_SYSTEMS if kind.format in _mountable()),
    DiskKind("gpt"),
    DiskKind("dos"),
)
