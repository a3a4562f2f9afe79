"""Images whose makers mean harm, on file systems that hold little."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from struct import pack, unpack_from

import pytest
from tests.system.loop_mount import NeedTool, mounted

import volary
from volary import BackingFile, PoolSpec, VolumeResize, VolumeSpec
from volary.engine.formats import qcow2

MIB = 1 << 20
TIB = 1 << 40


@pytest.fixture
def small(conn: volary.Connection, tmp_path: Path, need_root: None) -> Iterator[volary.Pool]:
    """A pool of 64 MiB."""
    with mounted("tmpfs", "none", tmp_path / "small", f"size={64 * MIB}") as where:
        pool = conn.create_pool(PoolSpec("small", target=where))
        yield pool
        pool.stop()


@pytest.fixture
def plain(conn: volary.Connection, tmp_path: Path, need_root: None) -> Iterator[volary.Pool]:
    """A pool whose file system has no extended attributes."""
    with mounted("ramfs", "none", tmp_path / "plain") as where:
        pool = conn.create_pool(PoolSpec("plain", target=where))
        yield pool
        pool.stop()


def overlay_header(backing: str) -> bytes:
    """Return what a guest writes to the begin of its disk, to be backed by `backing`."""
    spec = VolumeSpec("a", capacity=MIB, format="qcow2", backing=BackingFile(backing, "raw"))
    fd = os.memfd_create("header")
    try:
        for _ in qcow2.create(fd, spec):
            pass
        return os.pread(fd, 512, 0)
    finally:
        os.close(fd)


def make_bomb(path: Path) -> None:
    """Write a qcow2 of 1 TiB whose every cluster is one and the same, of 64 KiB."""
    spec = VolumeSpec("a", capacity=512 * MIB, format="qcow2", preallocation="metadata")
    with path.open("wb+") as file:
        for _ in qcow2.create(file.fileno(), spec):
            pass
        header = os.pread(file.fileno(), 104, 0)
        (l1_offset,) = unpack_from(">Q", header, 40)
        (table,) = unpack_from(">Q", os.pread(file.fileno(), 8, l1_offset), 0)
        (cluster,) = unpack_from(">Q", os.pread(file.fileno(), 8, table & ~(1 << 63)), 0)
        at = table & ~(1 << 63)
        os.pwrite(file.fileno(), pack(">Q", cluster) * 8192, at)
        end = -(-os.fstat(file.fileno()).st_size // 65536) * 65536
        entries = TIB // (512 * MIB)
        os.pwrite(file.fileno(), pack(">Q", table) * entries, end)
        os.pwrite(file.fileno(), pack(">Q", TIB), 24)
        os.pwrite(file.fileno(), pack(">IQ", entries, end), 36)
        os.pwrite(file.fileno(), b"x" * 65536, cluster & ~(1 << 63))
        os.ftruncate(file.fileno(), end + entries * 8)


def test_a_small_image_of_much_is_refused_before_anything_is_written(
    pool: volary.Pool, target: Path, small: volary.Pool, need_tool: NeedTool
) -> None:
    need_tool("qemu-img", "qemu-utils")
    make_bomb(target / "bomb")
    pool.refresh()
    bomb = pool.volume("bomb")
    assert bomb.info().allocation < MIB
    job = small.clone_volume(bomb, VolumeSpec("copy.raw"), volary.ASYNC)
    with pytest.raises(volary.NoSpace, match=r"needs 1\.00 TiB"):
        job.result(30)
    assert job.progress().done == 0
    assert small.volumes() == []


def write_as_guest(volume: volary.Volume) -> None:
    with Path(volume).open("r+b") as disk:
        disk.write(overlay_header("/etc/hostname"))


@pytest.fixture
def guests(plain: volary.Pool) -> volary.Volume:
    """A raw volume, without a mark, whose guest has written another format's header into it."""
    volume = plain.create_volume(VolumeSpec("a", capacity=2 * MIB))
    write_as_guest(volume)
    return volume


def test_a_raw_volume_without_a_mark_stays_raw_when_it_is_resized(guests: volary.Volume) -> None:
    guests.resize("1 MiB", VolumeResize.DELTA)
    assert guests.info().format == "raw"


def test_a_raw_volume_without_a_mark_stays_raw_when_a_part_is_uploaded(
    guests: volary.Volume,
) -> None:
    guests.upload([b"x" * 512], offset=MIB)
    assert guests.info().format == "raw"


def test_the_clone_of_a_raw_volume_is_raw_without_a_mark(
    plain: volary.Pool, guests: volary.Volume
) -> None:
    clone = plain.clone_volume(guests, VolumeSpec("b"))
    assert clone.info().format == "raw"
    plain.refresh()
    assert clone.info().format == "raw"
