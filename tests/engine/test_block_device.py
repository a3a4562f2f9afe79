"""Disks and their partitions, as the kernel shows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import NeedTool
from tests.engine.backends.loop_disk import LoopDisk, command, loop_disk

from volary.engine.block_device import (
    Disk,
    add_partition,
    delete_partition,
    resize_partition,
    sector_size,
    zero_out,
)

MIB = 1 << 20


@pytest.fixture
def loop(tmp_path: Path, need_tool: NeedTool) -> Iterator[LoopDisk]:
    with loop_disk(tmp_path / "disk", 8 * MIB, need_tool) as made:
        yield made


@pytest.fixture
def fd(loop: LoopDisk) -> Iterator[int]:
    fd = os.open(loop.path, os.O_RDWR)
    yield fd
    os.close(fd)


def test_the_kernel_puts_a_p_behind_a_digit() -> None:
    paths = [Disk(path, 0, "").partition_path(3) for path in ("/dev/sda", "/dev/nvme0n1")]
    assert paths == ["/dev/sda3", "/dev/nvme0n1p3"]


def test_partitions_come_grow_and_go(loop: LoopDisk, fd: int) -> None:
    disk = Disk.find(loop.path)
    add_partition(fd, 2, MIB, 2 * MIB)
    (shown,) = disk.partitions().values()
    assert (shown.number, shown.start, shown.length) == (2, MIB, 2 * MIB)
    assert disk.partition(2) == shown
    assert os.stat(loop.node(2)).st_rdev == shown.device
    assert disk.holders(shown) == []
    resize_partition(fd, 2, MIB, 3 * MIB)
    assert int(command("blockdev", "--getsize64", loop.node(2))) == 3 * MIB
    with open(loop.node(2), "rb"), pytest.raises(OSError, match="busy"):
        delete_partition(fd, 2)
    delete_partition(fd, 2)
    assert disk.partitions() == {}
    assert disk.partition(2) is None


def test_a_part_is_zeroed_and_no_more(loop: LoopDisk, fd: int) -> None:
    os.pwrite(fd, b"\xff" * 3 * MIB, 0)
    zero_out(fd, MIB, MIB)
    content = Path(loop.path).read_bytes()
    assert content[: 3 * MIB] == b"\xff" * MIB + bytes(MIB) + b"\xff" * MIB


def test_a_disk_knows_its_sectors_and_size(loop: LoopDisk, fd: int) -> None:
    assert sector_size(fd) == int(command("blockdev", "--getss", loop.path))
    disk = Disk.find(loop.path)
    assert (disk.size, disk.is_there, disk.is_read_only) == (8 * MIB, True, False)


def test_what_is_no_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no block device"):
        Disk.find(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        Disk.find(str(tmp_path / "missing"))
