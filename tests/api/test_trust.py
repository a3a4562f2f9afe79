"""Whose word a backing file is."""

from __future__ import annotations

from pathlib import Path

import pytest

import volary
from volary import BackingFile, VolumeSpec
from volary.engine.formats import qcow2

MIB = 1 << 20
SECRET = b"somebody else's" * 100


@pytest.fixture
def victim(conn: volary.Connection, tmp_path: Path) -> volary.Volume:
    """A volume of another pool, which is nobody else's business."""
    spec = volary.PoolSpec("theirs", target=tmp_path / "theirs")
    volume = conn.create_pool(spec, volary.PoolStart.BUILD).create_volume(
        VolumeSpec("victim.raw", capacity=MIB)
    )
    volume.upload([SECRET])
    return volume


def header(path: Path, backing: volary.Volume) -> Path:
    """Write a qcow2 whose header names `backing`, as whoever uploads one may."""
    spec = VolumeSpec("a", capacity=MIB, format="qcow2", backing=BackingFile(backing.path, "raw"))
    with path.open("wb+") as file:
        for _ in qcow2.create(file.fileno(), spec):
            pass
    return path


@pytest.fixture
def uploaded(pool: volary.Pool, victim: volary.Volume, tmp_path: Path) -> volary.Volume:
    volume = pool.create_volume(VolumeSpec("mine", capacity=MIB, format="qcow2"))
    volume.upload(header(tmp_path / "evil.qcow2", victim))
    return volume


def test_an_uploaded_header_gives_nobody_somebody_elses_volume(
    pool: volary.Pool, uploaded: volary.Volume
) -> None:
    with pytest.raises(volary.VolumeUnreadable, match=r"'mine'.*victim.raw.*trust_backing"):
        pool.clone_volume(uploaded, VolumeSpec("copy.raw"))
    assert [volume.name for volume in pool.volumes()] == ["mine"]


def test_nor_does_a_resize_read_it(uploaded: volary.Volume) -> None:
    with pytest.raises(volary.VolumeUnreadable, match="trust_backing"):
        uploaded.resize("2 MiB")


def test_the_refused_clone_holds_no_volume(
    pool: volary.Pool, uploaded: volary.Volume, victim: volary.Volume
) -> None:
    with pytest.raises(volary.VolumeUnreadable):
        pool.clone_volume(uploaded, VolumeSpec("copy.raw"))
    uploaded.delete()
    victim.delete()


def test_its_chain_can_be_looked_at(uploaded: volary.Volume, victim: volary.Volume) -> None:
    assert [link.path for link in uploaded.chain()] == [uploaded.path, victim.path]


def test_a_caller_who_knows_better_can_have_it_followed(
    pool: volary.Pool, uploaded: volary.Volume
) -> None:
    copy = pool.clone_volume(uploaded, VolumeSpec("copy.raw"), trust_backing=True)
    assert Path(copy).read_bytes().startswith(SECRET)


def test_an_overlay_that_was_created_here_is_followed_after_a_restart_too(
    victim: volary.Volume, tmp_path: Path
) -> None:
    ours = tmp_path / "ours"
    theirs = Path(victim.path).parent
    for state in ("first", "second"):
        with volary.open(state_dir=tmp_path / state) as conn:
            conn.create_pool(volary.PoolSpec("theirs", target=theirs))
            pool = conn.create_pool(volary.PoolSpec("ours", target=ours), volary.PoolStart.BUILD)
            if state == "first":
                overlay = pool.create_volume(
                    VolumeSpec("overlay", format="qcow2", backing=victim.path)
                )
            overlay = pool.volume("overlay")
            assert overlay.info().trusted
            copy = pool.clone_volume(overlay, VolumeSpec(state))
            assert Path(copy).read_bytes().startswith(SECRET)


def test_an_upload_over_an_overlay_loses_it_the_trust(
    pool: volary.Pool, victim: volary.Volume, tmp_path: Path
) -> None:
    base = pool.create_volume(VolumeSpec("base", capacity=MIB))
    overlay = pool.create_volume(VolumeSpec("overlay", format="qcow2", backing=base))
    assert overlay.info().trusted
    overlay.upload(header(tmp_path / "evil.qcow2", victim))
    assert not overlay.info().trusted
