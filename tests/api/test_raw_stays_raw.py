from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.system.crash import crash
from tests.system.half_way import TALKATIVE, stopped_half_way
from tests.system.host_image import MIB, put_qcow2, qcow2_image
from tests.system.small_extents import small_extents

import volary
from volary import BackingFile, PoolSpec, PoolStart, VolumeResize, VolumeSpec


@pytest.fixture
def header(tmp_path: Path) -> bytes:
    """What a guest writes to its disk to read what is not its own."""
    return qcow2_image(tmp_path, BackingFile("/etc/hostname", "raw"))


@pytest.fixture
def need_marks(tmp_path: Path) -> None:
    try:
        os.setxattr(tmp_path, "user.volary.test", b"")
    except OSError:
        pytest.skip("the file system of the tests has no extended attributes")


def written_by_guest(volume: volary.Volume, header: bytes) -> None:
    with open(volume.path, "r+b") as file:
        file.write(header)


@pytest.fixture
def volume(pool: volary.Pool, header: bytes) -> volary.Volume:
    """A raw volume whose guest wrote another format's header into it."""
    volume = pool.create_volume(VolumeSpec("a", capacity=MIB))
    written_by_guest(volume, header)
    return volume


def assert_raw(volume: volary.Volume) -> None:
    info = volume.info()
    assert (info.format, info.capacity, info.image) == ("raw", info.physical, None)
    (listed,) = [info for info in volume.pool.volume_infos() if info.name == volume.name]
    assert listed == info
    assert [link.format for link in volume.chain()] == ["raw"]


def test_it_is_raw_when_it_is_looked_at(volume: volary.Volume) -> None:
    assert_raw(volume)


def test_it_is_raw_after_a_refresh(volume: volary.Volume) -> None:
    volume.pool.refresh()
    assert_raw(volume)


def test_it_is_raw_when_its_pool_is_started_again(
    conn: volary.Connection, tmp_path: Path, header: bytes, need_marks: None
) -> None:
    pool = conn.define_pool(PoolSpec("kept", target=tmp_path / "kept"))
    pool.start(PoolStart.BUILD)
    volume = pool.create_volume(VolumeSpec("a", capacity=MIB))
    written_by_guest(volume, header)
    pool.stop()
    pool.start()
    assert_raw(volume)


def test_it_is_raw_to_another_engine(
    tmp_path: Path, volume: volary.Volume, need_marks: None
) -> None:
    spec = PoolSpec("again", target=volume.pool.target)
    with volary.open(state_dir=tmp_path / "again") as conn:
        assert_raw(conn.create_pool(spec).volume("a"))


def test_it_is_raw_after_its_pool_crashed(volume: volary.Volume) -> None:
    crash(volume.pool)
    assert_raw(volume)


@pytest.mark.parametrize(
    "change",
    [
        lambda volume: volume.resize(2 * MIB),
        lambda volume: volume.resize(MIB // 2, VolumeResize.SHRINK),
        lambda volume: volume.resize(2 * MIB, VolumeResize.ALLOCATE),
        lambda volume: volume.upload([b"x"], offset=MIB - 1),
    ],
    ids=["grown", "shrunk", "allocated", "uploaded to in part"],
)
def test_it_is_raw_when_it_was_changed(
    tmp_path: Path,
    volume: volary.Volume,
    need_marks: None,
    change: Callable[[volary.Volume], None],
) -> None:
    change(volume)
    assert_raw(volume)
    with volary.open(state_dir=tmp_path / "again") as conn:
        assert_raw(conn.create_pool(PoolSpec("again", target=volume.pool.target)).volume("a"))


def test_it_is_raw_when_a_crash_leaves_it_half_way_of_a_resize(
    tmp_path: Path, header: bytes, need_marks: None
) -> None:
    target = tmp_path / "resized"
    with small_extents(), volary.open(state_dir=tmp_path / "state", settings=TALKATIVE) as conn:
        pool = conn.create_pool(PoolSpec("resized", target=target), PoolStart.BUILD)
        volume = pool.create_volume(VolumeSpec("a", capacity=MIB))
        written_by_guest(volume, header)
        job = stopped_half_way(
            pool,
            lambda tell: volume.resize(
                2 * MIB, VolumeResize.ALLOCATE | volary.ASYNC, on_progress=tell
            ),
        )
        # Another engine finds what it would find if this one were no more.
        with volary.open(state_dir=tmp_path / "again") as again:
            found = again.create_pool(PoolSpec("again", target=target)).volume("a")
            assert found.info().capacity == 2 * MIB
            assert_raw(found)
        job.cancel()
        with volary.open(state_dir=tmp_path / "again") as again:
            found = again.create_pool(PoolSpec("again", target=target)).volume("a")
            assert found.info().capacity == MIB
            assert_raw(found)


def test_its_clone_is_raw(volume: volary.Volume, tmp_path: Path, need_marks: None) -> None:
    clone = volume.pool.clone_volume(volume, VolumeSpec("clone"))
    assert_raw(clone)
    with volary.open(state_dir=tmp_path / "again") as conn:
        assert_raw(conn.create_pool(PoolSpec("again", target=clone.pool.target)).volume("clone"))


def test_a_wiped_image_is_raw_for_good(
    pool: volary.Pool, tmp_path: Path, header: bytes, need_marks: None
) -> None:
    volume = pool.create_volume(VolumeSpec("a", capacity=MIB, format="qcow2"))
    volume.wipe()
    written_by_guest(volume, header[: volume.info().physical])
    assert_raw(volume)
    with volary.open(state_dir=tmp_path / "again") as conn:
        assert_raw(conn.create_pool(PoolSpec("again", target=pool.target)).volume("a"))


def test_it_is_raw_below_an_overlay(volume: volary.Volume, header: bytes) -> None:
    pool = volume.pool
    overlay = pool.create_volume(
        VolumeSpec("overlay", format="qcow2", backing=BackingFile(volume.path))
    )
    image = overlay.info().image
    assert image is not None
    assert image.backing == BackingFile(volume.path, "raw")
    assert [(link.format, link.problem) for link in overlay.chain()] == [
        ("qcow2", None),
        ("raw", None),
    ]


def test_what_an_overlay_says_to_be_raw_is_raw_though_its_pool_does_not(
    pool: volary.Pool, target: Path, need_tool: Callable[[str, str], str]
) -> None:
    need_tool("qemu-img", "qemu-utils")
    data = put_qcow2(target / "base", BackingFile("/etc/hostname", "raw"))
    put_qcow2(target / "overlay", BackingFile("base", "raw"), capacity=len(data))
    pool.refresh()
    assert pool.volume("base").info().format == "qcow2"
    overlay = pool.volume("overlay")
    assert [link.format for link in overlay.chain()] == ["qcow2", "raw"]
    clone = pool.clone_volume(overlay, VolumeSpec("clone"), trust_backing=True)
    assert Path(clone.path).read_bytes() == data


def test_an_uploaded_header_makes_it_another_format(volume: volary.Volume, tmp_path: Path) -> None:
    volume.upload([qcow2_image(tmp_path)])
    assert volume.info().format == "qcow2"
    with volary.open(state_dir=tmp_path / "again") as conn:
        pool = conn.create_pool(PoolSpec("again", target=volume.pool.target))
        assert pool.volume("a").info().format == "qcow2"


def test_an_uploaded_raw_image_is_raw_for_good(
    pool: volary.Pool, tmp_path: Path, header: bytes, need_marks: None
) -> None:
    volume = pool.create_volume(VolumeSpec("a", capacity=MIB, format="qcow2"))
    volume.upload([b"x" * MIB])
    written_by_guest(volume, header)
    with volary.open(state_dir=tmp_path / "again") as conn:
        assert_raw(conn.create_pool(PoolSpec("again", target=pool.target)).volume("a"))


def test_a_file_of_another_size_is_recognised_anew(volume: volary.Volume, target: Path) -> None:
    with open(target / "a", "r+b") as file:
        file.truncate(2 * MIB)  # which no guest can do
    assert volume.info().format == "qcow2"
    volume.pool.refresh()
    assert volume.pool.volume_infos()[0].format == "qcow2"


def test_a_raw_volume_is_not_read_for_what_its_guest_wrote(
    volume: volary.Volume, pool: volary.Pool
) -> None:
    clone = pool.clone_volume(volume, VolumeSpec("clone"))
    assert Path(clone.path).read_bytes() == Path(volume.path).read_bytes()
