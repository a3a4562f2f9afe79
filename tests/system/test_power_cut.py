"""What is on disk when the power fails right after a call returned.

The file below a loop device is copied while the file system is mounted, with no unmount and no
sync: the copy holds what had been written to the device by then. Mounting it replays the journal,
as after a power cut. What was still in the page cache of the file system is lost; nothing gets
written by luck, since the commit intervals of ext4 and btrfs are set to minutes and that of xfs is
30 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pytest
from tests.system.half_way import TALKATIVE, paused_half_way
from tests.system.leftovers import free_space, names, wait_for_space
from tests.system.loop_mount import (
    BTRFS,
    EXT2,
    EXT3,
    EXT4,
    MIB,
    XFS,
    Kind,
    NeedTool,
    make_image,
    mounted,
    run,
)

import volary
from volary import ASYNC, PoolSpec, PoolStart, VolumeSpec

SIZE = 24 * MIB + 511

JOURNALED = {
    "ext4": EXT4,
    "ext4 data=writeback": replace(EXT4, options="commit=600,data=writeback"),
    "ext4 fast_commit": replace(EXT4, make=(*EXT4.make, "-O", "fast_commit")),
    "ext3": replace(EXT3, options="commit=600"),
    "xfs": XFS,
    "btrfs": replace(BTRFS, options="commit=600"),
}
# These are repaired at the boot, and have only what was synced one by one.
REPAIRED = {
    "ext4 no journal": replace(EXT4, make=(*EXT4.make, "-O", "^has_journal"), options=""),
    "ext2": EXT2,
}
KINDS = JOURNALED | REPAIRED


@dataclass(frozen=True)
class Disk:
    """A disk with one file system, whose power can be cut."""

    kind: Kind
    folder: Path
    mount: ExitStack
    where: Path

    @property
    def images(self) -> Path:
        return self.where / "images"

    def cut_power(self) -> None:
        """Keep what has reached the device, and nothing of what is to come."""
        # Holes are not read: the copy is done before the kernel's own writing can change much.
        run("cp", "--sparse=always", self.folder / "image", self.folder / "copy")

    @contextmanager
    def booted(self) -> Iterator[Path]:
        """Have the disk mounted as it was when the power was cut; return the pool's target."""
        # Two file systems of one UUID cannot be mounted by every kernel.
        self.mount.close()
        if self.kind in REPAIRED.values():
            # Exit status 1: errors were corrected (e2fsck(8)).
            run("e2fsck", "-f", "-y", self.folder / "copy", accept=(0, 1))
        # btrfs gives the space of what is removed back when it commits.
        options = "loop,commit=1" if self.kind.name == "btrfs" else "loop"
        with mounted(
            self.kind.name, self.folder / "copy", self.folder / "after", options
        ) as where:
            yield where / "images"


@pytest.fixture(params=KINDS)
def disk(
    request: pytest.FixtureRequest, tmp_path: Path, need_root: None, need_tool: NeedTool
) -> Iterator[Disk]:
    kind = KINDS[request.param]
    make_image(kind, tmp_path / "image", need_tool)
    options = ",".join(filter(None, ("loop", kind.options)))
    with ExitStack() as mount:
        where = mount.enter_context(
            mounted(kind.name, tmp_path / "image", tmp_path / "before", options)
        )
        (where / "images").mkdir()
        sync(where)
        yield Disk(kind, tmp_path, mount, where)


@contextmanager
def opened(disk: Disk) -> Iterator[volary.Pool]:
    """Have a pool on that disk, of an engine that keeps its state elsewhere."""
    with volary.open(state_dir=disk.folder / "state", settings=TALKATIVE) as conn:
        yield conn.create_pool(PoolSpec("images", target=disk.images))


def sync(where: Path) -> None:
    """Have all written that the file system remembers: sync(1), for it alone."""
    run("sync", "--file-system", where)


def zeros(path: Path) -> bool:
    return not path.read_bytes().strip(b"\0")


@pytest.mark.parametrize("preallocation", ["off", "falloc", "full"])
def test_a_volume_whose_creation_has_returned_survives(
    disk: Disk, preallocation: Literal["off", "falloc", "full"]
) -> None:
    with opened(disk) as pool:
        spec = VolumeSpec("a.raw", capacity=SIZE, preallocation=preallocation)
        allocation = pool.create_volume(spec).info().allocation
        disk.cut_power()
    with disk.booted() as images:
        assert names(images) == ["a.raw"]
        answer = (images / "a.raw").stat()
        assert (answer.st_size, answer.st_blocks * 512) == (SIZE, allocation)
        assert allocation >= (SIZE if preallocation != "off" else 0)
        assert zeros(images / "a.raw")


@pytest.mark.parametrize("preallocation", ["off", "metadata", "full"])
def test_what_is_in_a_volume_whose_creation_has_returned_survives(
    disk: Disk, preallocation: Literal["off", "metadata", "full"]
) -> None:
    with opened(disk) as pool:
        pool.create_volume(
            VolumeSpec("a.qcow2", capacity=SIZE, format="qcow2", preallocation=preallocation)
        )
        disk.cut_power()
        content = (disk.images / "a.qcow2").read_bytes()
    with disk.booted() as images:
        assert names(images) == ["a.qcow2"]
        assert (images / "a.qcow2").read_bytes() == content
        assert content.startswith(b"QFI\xfb")


def test_every_one_of_many_volumes_created_at_once_survives(disk: Disk) -> None:
    with opened(disk) as pool:
        jobs = [
            pool.create_volume(VolumeSpec(f"{number:02}", capacity=SIZE, mode=0o640), ASYNC)
            for number in range(24)
        ]
        for job in jobs:
            job.result(20)
        disk.cut_power()
    with disk.booted() as images:
        assert names(images) == [f"{number:02}" for number in range(24)]
        for path in images.iterdir():
            answer = path.stat()
            assert (answer.st_size, answer.st_mode & 0o7777) == (SIZE, 0o640)


def test_a_volume_that_was_being_written_is_nowhere(disk: Disk) -> None:
    before = free_space(disk.where)
    with opened(disk) as pool:
        job = paused_half_way(pool, VolumeSpec("a.raw", capacity=SIZE, preallocation="full"))
        # Whatever the kernel may write of its own accord, let it be written.
        sync(disk.where)
        disk.cut_power()
        job.cancel()
    with disk.booted() as images, volary.open(state_dir=disk.folder / "next") as conn:
        pool = conn.create_pool(PoolSpec("images", target=images))
        assert names(images) == []
        assert pool.volumes() == []
        wait_for_space(images, before)


def test_a_volume_whose_deletion_has_returned_stays_deleted(disk: Disk) -> None:
    with opened(disk) as pool:
        for name in ("a.raw", "b.raw"):
            pool.create_volume(VolumeSpec(name, capacity=SIZE, preallocation="full"))
        sync(disk.where)
        pool.volume("a.raw").delete()
        disk.cut_power()
    with disk.booted() as images:
        assert names(images) == ["b.raw"]


def test_a_volume_created_anew_under_a_deleted_ones_name_is_the_new_one(disk: Disk) -> None:
    with opened(disk) as pool:
        pool.create_volume(VolumeSpec("a.raw", capacity=SIZE))
        (disk.images / "a.raw").write_bytes(b"the first guest")
        sync(disk.where)
        pool.volume("a.raw").delete()
        pool.create_volume(VolumeSpec("a.raw", capacity=4096))
        disk.cut_power()
    with disk.booted() as images:
        assert (images / "a.raw").read_bytes() == bytes(4096)


def test_a_pool_that_was_built_is_there_with_its_mode(disk: Disk) -> None:
    with volary.open(state_dir=disk.folder / "state") as conn:
        target = disk.images / "above" / "pool"
        spec = PoolSpec("p", target=target, mode=0o750, group=34)
        conn.create_pool(spec, PoolStart.BUILD)
        disk.cut_power()
    with disk.booted() as images:
        answer = (images / "above" / "pool").stat()
        assert (answer.st_mode & 0o7777, answer.st_gid) == (0o750, 34)


@pytest.mark.parametrize("disk", JOURNALED, indirect=True)
def test_a_definition_and_its_autostart_survive(disk: Disk) -> None:
    with volary.open(state_dir=disk.images / "state") as conn:
        pool = conn.define_pool(PoolSpec("p", target=disk.folder))
        pool.autostart = True
        uuid = pool.uuid
        disk.cut_power()
    with disk.booted() as images, volary.open(state_dir=images / "state") as conn:
        pool = conn.pool("p")
        assert (pool.uuid, pool.autostart, pool.is_active) == (uuid, True, True)


@pytest.mark.parametrize("disk", JOURNALED, indirect=True)
def test_a_definition_that_was_removed_stays_removed(disk: Disk) -> None:
    with volary.open(state_dir=disk.images / "state") as conn:
        for name in ("p", "q"):
            conn.define_pool(PoolSpec(name, target=disk.folder / name)).autostart = True
        sync(disk.where)
        conn.pool("p").undefine()
        disk.cut_power()
    with disk.booted() as images, volary.open(state_dir=images / "state") as conn:
        assert [pool.name for pool in conn.pools()] == ["q"]
        assert names(images / "state" / "autostart") == ["q.xml"]
