from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import volary

MIB = 1 << 20


@pytest.mark.parametrize(
    ("options", "allocation"),
    [
        ({}, 0),
        ({"allocation": 4 * MIB}, 4 * MIB),
        ({"preallocation": "falloc"}, 16 * MIB),
        ({"preallocation": "full"}, 16 * MIB),
        ({"preallocation": "full", "allocation": 4 * MIB}, 4 * MIB),
    ],
)
def test_a_volume_is_created_as_asked(
    pool: volary.Pool, target: Path, options: dict[str, Any], allocation: int
) -> None:
    volume = pool.create_volume(volary.VolumeSpec("a.raw", capacity=16 * MIB, **options))
    info = volume.info()
    assert (info.type, info.format) == ("file", "raw")
    assert (info.capacity, info.physical) == (16 * MIB, 16 * MIB)
    assert allocation <= info.allocation <= allocation + 64 * 1024
    assert (volume.name, volume.pool, volume.path) == ("a.raw", pool, str(target / "a.raw"))
    assert pool.volumes() == [volume]


def test_info_tells_what_is_on_disk_now(pool: volary.Pool, target: Path) -> None:
    volume = pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    (target / "a").write_bytes(b"x" * 2 * MIB)
    assert volume.info().capacity == 2 * MIB


def test_a_volume_that_somebody_removed_is_not_found_any_more(
    pool: volary.Pool, target: Path
) -> None:
    volume = pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    (target / "a").unlink()
    with pytest.raises(volary.VolumeNotFound, match="pool 'images' has no volume 'a'"):
        volume.info()
    assert pool.volumes() == []


def test_a_deleted_volume_is_gone(pool: volary.Pool, target: Path) -> None:
    volume = pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    volume.delete()
    assert os.listdir(target) == []
    for call in (volume.info, volume.delete, lambda: pool.volume("a")):
        with pytest.raises(volary.VolumeNotFound, match="pool 'images' has no volume 'a'"):
            call()


def test_a_volume_may_be_deleted_asynchronously(pool: volary.Pool) -> None:
    volume = pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    assert volume.delete(volary.ASYNC).result() is None
    assert pool.volumes() == []


def test_a_duplicate_name_is_refused_also_while_the_first_is_being_made(
    pool: volary.Pool, target: Path
) -> None:
    spec = volary.VolumeSpec("a", capacity=64 * MIB, preallocation="full")
    job = pool.create_volume(spec, volary.ASYNC)
    job.pause()
    with pytest.raises(volary.VolumeExists, match=f"is being created by job {job.id}"):
        pool.create_volume(spec)
    with pytest.raises(volary.VolumeNotFound, match=f"job {job.id} is creating it"):
        pool.volume("a")
    job.resume()
    job.result()
    with pytest.raises(volary.VolumeExists, match="has a volume 'a' already"):
        pool.create_volume(spec)
    assert os.listdir(target) == ["a"]


def test_a_name_is_free_again_after_a_cancel(pool: volary.Pool) -> None:
    spec = volary.VolumeSpec("a", capacity=64 * MIB, preallocation="full")
    job = pool.create_volume(spec, volary.ASYNC)
    job.pause()
    assert job.cancel()
    assert pool.create_volume(volary.VolumeSpec("a", capacity=1)).info().capacity == 1


def test_a_file_that_the_pool_does_not_know_yet_is_not_replaced(
    pool: volary.Pool, target: Path
) -> None:
    (target / "a").write_text("precious")
    with pytest.raises(volary.VolumeExists, match="a file of that name is in"):
        pool.create_volume(volary.VolumeSpec("a", capacity=1))
    assert (target / "a").read_text() == "precious"


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "..", "", "a\nb", "a\0b", "x" * 256])
def test_a_look_up_of_what_is_no_name_is_refused(pool: volary.Pool, name: str) -> None:
    with pytest.raises(volary.InvalidSpec, match="volume name"):
        pool.volume(name)


def test_a_link_that_points_outside_is_no_volume(pool: volary.Pool, target: Path) -> None:
    (target / "link").symlink_to("/etc/passwd")
    pool.refresh()
    assert pool.volumes() == []
    with pytest.raises(volary.VolumeExists):
        pool.create_volume(volary.VolumeSpec("link", capacity=1))
    assert os.readlink(target / "link") == "/etc/passwd"


def test_volumes_are_equal_by_key(pool: volary.Pool) -> None:
    volume = pool.create_volume(volary.VolumeSpec("a", capacity=1))
    assert {volume, pool.volume("a")} == {volume}
    assert volume != pool.create_volume(volary.VolumeSpec("b", capacity=1))


@pytest.mark.parametrize("spec", [None, 5, {"name": "a"}])
def test_a_creation_from_what_is_no_spec_says_what_to_give(pool: volary.Pool, spec: Any) -> None:
    with pytest.raises(volary.InvalidSpec, match=r"give a volary\.VolumeSpec"):
        pool.create_volume(spec)


def test_flags_that_are_none_are_refused(pool: volary.Pool) -> None:
    wrong: Any = "x"
    with pytest.raises(volary.InvalidSpec, match=r"create volume: flags 'x' .*VolumeCreate"):
        pool.create_volume(volary.VolumeSpec("a", capacity=1), wrong)


@pytest.mark.parametrize("more", [volary.VolumeCreate.NONE, volary.ASYNC])
def test_a_raw_volume_has_no_metadata_to_preallocate(
    pool: volary.Pool, target: Path, more: int
) -> None:
    flags = volary.VolumeCreate.PREALLOCATE_METADATA | more
    with pytest.raises(volary.InvalidSpec, match=r"qcow2's"):
        pool.create_volume(volary.VolumeSpec("a", capacity=MIB), flags)
    assert os.listdir(target) == []
