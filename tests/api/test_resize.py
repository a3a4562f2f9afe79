from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.system.half_way import TALKATIVE, stopped_half_way
from tests.system.host_image import MIB, contents
from tests.system.small_extents import EXTENT, small_extents

import volary
from volary import ASYNC, BackingFile, VolumeResize, VolumeSpec

DATA = b"x" * MIB


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[volary.Connection]:
    with (
        small_extents(),
        volary.open(state_dir=tmp_path / "state", settings=TALKATIVE) as connection,
    ):
        yield connection


@pytest.fixture
def volume(pool: volary.Pool) -> volary.Volume:
    volume = pool.create_volume(VolumeSpec("a", capacity=MIB))
    volume.upload([DATA])
    return volume


def listed(volume: volary.Volume) -> int:
    (info,) = [info for info in volume.pool.volume_infos() if info.name == volume.name]
    return info.capacity


def test_a_volume_grows_with_a_hole(volume: volary.Volume) -> None:
    before = volume.info().allocation
    volume.resize("3 MiB")
    assert contents(volume) == DATA + bytes(2 * MIB)
    assert volume.info().allocation == before
    assert listed(volume) == 3 * MIB


def test_what_is_added_is_reserved_when_asked_for(volume: volary.Volume) -> None:
    volume.resize("3 MiB", VolumeResize.ALLOCATE)
    assert contents(volume) == DATA + bytes(2 * MIB)
    assert volume.info().allocation >= 3 * MIB


def test_a_volume_shrinks_only_when_told_to(volume: volary.Volume) -> None:
    with pytest.raises(volary.InvalidSpec, match="with the flag SHRINK"):
        volume.resize(MIB - 1)
    assert contents(volume) == DATA
    volume.resize(5, VolumeResize.SHRINK)
    assert contents(volume) == DATA[:5]
    assert listed(volume) == 5


def test_a_capacity_may_be_told_as_a_difference(volume: volary.Volume) -> None:
    volume.resize("1 MiB", VolumeResize.DELTA)
    assert volume.info().capacity == 2 * MIB
    volume.resize(3 * MIB // 2, VolumeResize.DELTA | VolumeResize.SHRINK)
    assert contents(volume) == DATA[: MIB // 2]


@pytest.mark.parametrize("size", [MIB, 2 * MIB])
def test_nothing_shrinks_to_nothing(volume: volary.Volume, size: int) -> None:
    with pytest.raises(volary.InvalidSpec, match="cannot shrink by as much or more"):
        volume.resize(size, VolumeResize.DELTA | VolumeResize.SHRINK)
    assert contents(volume) == DATA


def test_a_capacity_above_the_largest_file_is_refused(volume: volary.Volume) -> None:
    with pytest.raises(volary.InvalidSpec, match="above the largest file"):
        volume.resize((1 << 63) - 1, VolumeResize.DELTA)
    assert contents(volume) == DATA


def test_more_than_there_is_room_for_is_refused_at_once(volume: volary.Volume) -> None:
    with pytest.raises(volary.NoSpace, match="volume 'a' needs"):
        volume.resize("1 PiB", VolumeResize.ALLOCATE)
    assert contents(volume) == DATA


def test_a_cancelled_resize_leaves_the_volume_as_it_was(volume: volary.Volume) -> None:
    job = stopped_half_way(
        volume.pool,
        lambda tell: volume.resize(
            MIB + 16 * EXTENT, VolumeResize.ALLOCATE | ASYNC, on_progress=tell
        ),
    )
    assert job.cancel()
    assert contents(volume) == DATA
    assert volume.info().capacity == listed(volume) == MIB
    assert volume.info().allocation < MIB + EXTENT
    volume.resize(2 * MIB)


def test_a_volume_is_listed_with_its_old_capacity_while_it_is_resized(
    volume: volary.Volume,
) -> None:
    job = stopped_half_way(
        volume.pool,
        lambda tell: volume.resize(
            MIB + 16 * EXTENT, VolumeResize.ALLOCATE | ASYNC, on_progress=tell
        ),
    )
    volume.pool.refresh()
    assert listed(volume) == MIB
    job.resume()
    job.result(20)
    assert listed(volume) == MIB + 16 * EXTENT


def test_what_is_not_there_is_not_resized(pool: volary.Pool) -> None:
    with pytest.raises(volary.VolumeNotFound):
        volary.Volume(pool, "gone").resize(1)


def test_a_qcow2_grows_and_shrinks(
    pool: volary.Pool, need_tool: Callable[[str, str], str]
) -> None:
    need_tool("qemu-img", "qemu-utils")
    volume = pool.create_volume(VolumeSpec("a", capacity=MIB, format="qcow2"))
    volume.resize("4 MiB")
    assert (volume.info().capacity, listed(volume)) == (4 * MIB, 4 * MIB)
    volume.resize("2 MiB", VolumeResize.SHRINK)
    assert volume.info().capacity == 2 * MIB


def test_an_overlay_grows_and_what_it_is_backed_by_does_not(
    pool: volary.Pool, volume: volary.Volume, need_tool: Callable[[str, str], str]
) -> None:
    need_tool("qemu-img", "qemu-utils")
    spec = VolumeSpec("overlay", format="qcow2", backing=BackingFile(volume.path))
    overlay = pool.create_volume(spec)
    overlay.resize("4 MiB")
    assert overlay.info().capacity == 4 * MIB
    assert contents(volume) == DATA
    assert contents(pool.clone_volume(overlay, VolumeSpec("c"))) == DATA + bytes(3 * MIB)
