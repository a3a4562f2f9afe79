from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.half_way import TALKATIVE, stopped_half_way
from tests.system.host_image import MIB, contents
from tests.system.small_extents import EXTENT, small_extents

import volary
from volary import ASYNC, BackingFile, Hole, PoolSpec, PoolStart, VolumeSpec

SIZE = 16 * EXTENT
DATA = bytes(range(256)) * (SIZE // 256)


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[volary.Connection]:
    with (
        small_extents(),
        volary.open(state_dir=tmp_path / "state", settings=TALKATIVE) as connection,
    ):
        yield connection


@pytest.fixture
def other(conn: volary.Connection, tmp_path: Path) -> volary.Pool:
    return conn.create_pool(PoolSpec("other", target=tmp_path / "other"), PoolStart.BUILD)


@pytest.fixture
def source(pool: volary.Pool) -> volary.Volume:
    volume = pool.create_volume(VolumeSpec("source", capacity=SIZE))
    volume.upload([DATA])
    return volume


@pytest.fixture
def qemu_img(need_tool: Callable[[str, str], str]) -> str:
    return need_tool("qemu-img", "qemu-utils")


def test_a_clone_has_its_sources_content_and_capacity(
    pool: volary.Pool, source: volary.Volume
) -> None:
    clone = pool.clone_volume(source, VolumeSpec("clone"))
    assert (clone.name, clone.info().capacity, clone.info().format) == ("clone", SIZE, "raw")
    assert contents(clone) == contents(source) == DATA
    assert pool.volumes() == [clone, source]


def test_a_clone_may_be_in_another_pool(source: volary.Volume, other: volary.Pool) -> None:
    clone = other.clone_volume(source, VolumeSpec("source"))
    assert clone.pool == other
    assert contents(clone) == DATA


def test_a_clone_is_as_large_as_asked(source: volary.Volume, other: volary.Pool) -> None:
    clone = other.clone_volume(source, VolumeSpec("clone", capacity=SIZE + 5))
    assert contents(clone) == DATA + bytes(5)


def test_a_clone_does_not_cut_its_source_off(source: volary.Volume, other: volary.Pool) -> None:
    with pytest.raises(volary.InvalidSpec, match="would cut it off"):
        other.clone_volume(source, VolumeSpec("clone", capacity=SIZE - 1))
    assert os.listdir(other.target) == []


def test_holes_of_a_source_are_holes_of_its_clone(pool: volary.Pool) -> None:
    source = pool.create_volume(VolumeSpec("source", capacity=64 * MIB))
    source.upload([b"x" * MIB, Hole(40 * MIB), b"y" * MIB])
    clone = pool.clone_volume(source, VolumeSpec("clone"))
    assert contents(clone) == contents(source)
    assert clone.info().allocation <= source.info().allocation + 65536


def test_a_cancelled_clone_leaves_nothing(source: volary.Volume, other: volary.Pool) -> None:
    job = stopped_half_way(
        other,
        lambda tell: other.clone_volume(source, VolumeSpec("clone"), ASYNC, on_progress=tell),
    )
    assert job.cancel()
    assert job.state is volary.JobState.CANCELLED
    assert os.listdir(other.target) == []
    assert other.volumes() == []
    assert contents(source) == DATA


def test_a_clone_whose_source_is_cut_off_fails_and_leaves_nothing(
    source: volary.Volume, other: volary.Pool
) -> None:
    job = stopped_half_way(
        other,
        lambda tell: other.clone_volume(source, VolumeSpec("clone"), ASYNC, on_progress=tell),
    )
    os.truncate(source.path, EXTENT)
    job.resume()
    assert isinstance(job.exception(20), volary.StorageFailed)
    assert os.listdir(other.target) == []


def test_a_clone_takes_no_name_that_is_taken(source: volary.Volume, other: volary.Pool) -> None:
    other.create_volume(VolumeSpec("clone", capacity=1))
    with pytest.raises(volary.VolumeExists):
        other.clone_volume(source, VolumeSpec("clone"))
    assert other.volume("clone").info().capacity == 1


def test_what_is_not_there_is_not_cloned(pool: volary.Pool, other: volary.Pool) -> None:
    with pytest.raises(volary.VolumeNotFound, match="'images' has no volume 'gone'"):
        other.clone_volume(volary.Volume(pool, "gone"), VolumeSpec("clone"))
    assert os.listdir(other.target) == []


@pytest.mark.parametrize("given", [None, "source", Path("/srv/images/source")])
def test_what_is_no_volume_is_not_cloned(pool: volary.Pool, given: Any) -> None:
    with pytest.raises(volary.InvalidSpec, match=r"give a volary\.Volume"):
        pool.clone_volume(given, VolumeSpec("clone"))


def test_a_clone_has_no_backing_file(pool: volary.Pool, source: volary.Volume) -> None:
    spec = VolumeSpec("clone", format="qcow2", backing=BackingFile("source", "raw"))
    with pytest.raises(volary.InvalidSpec, match="a clone has its content itself"):
        pool.clone_volume(source, spec)


def test_a_clone_goes_from_raw_to_qcow2_and_back(
    source: volary.Volume, other: volary.Pool, qemu_img: str
) -> None:
    image = other.clone_volume(source, VolumeSpec("image", format="qcow2"))
    assert (image.info().format, image.info().capacity) == ("qcow2", SIZE)
    assert contents(source.pool.clone_volume(image, VolumeSpec("back"))) == DATA


def test_a_clone_of_an_overlay_has_what_its_guest_sees(
    pool: volary.Pool, source: volary.Volume, other: volary.Pool, qemu_img: str
) -> None:
    backing = BackingFile(source.path)
    lower = other.create_volume(VolumeSpec("lower", format="qcow2", backing=backing))
    backing = BackingFile(lower.path)
    upper = pool.create_volume(VolumeSpec("upper", format="qcow2", backing=backing))
    clone = other.clone_volume(upper, VolumeSpec("clone"))
    assert contents(clone) == DATA


def test_a_qcow2_shares_no_blocks(pool: volary.Pool, source: volary.Volume, qemu_img: str) -> None:
    with pytest.raises(volary.InvalidSpec, match="only raw volumes share blocks"):
        pool.clone_volume(source, VolumeSpec("clone", format="qcow2"), volary.VolumeCreate.REFLINK)
    assert os.listdir(pool.target) == ["source"]


def test_a_clone_with_an_allocation_has_its_own_blocks(
    pool: volary.Pool, source: volary.Volume
) -> None:
    clone = pool.clone_volume(source, VolumeSpec("clone", preallocation="falloc"))
    assert clone.info().allocation >= SIZE
    assert contents(clone) == DATA
