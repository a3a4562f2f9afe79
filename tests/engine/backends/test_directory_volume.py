"""Volumes that are directories, made step by step."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from uuid import uuid4

import pytest

from volary.engine.backends import ActivePool, backend_for
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Operation
from volary.engine.volume_details import Inode
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec


def run(operation: Operation[VolumeInfo]) -> VolumeInfo:
    while True:
        try:
            next(operation)
        except StopIteration as stop:
            result: VolumeInfo = stop.value
            return result


@pytest.fixture
def active(tmp_path: Path) -> ActivePool:
    opening = backend_for(PoolSpec("images", target=tmp_path, uuid=uuid4())).start()
    while True:
        try:
            next(opening)
        except StopIteration as stop:
            result: ActivePool = stop.value
            return result


def test_a_directory_has_libvirts_mode_of_a_volume(active: ActivePool, tmp_path: Path) -> None:
    info = run(active.create_volume(VolumeSpec("d", format="dir")))
    assert (info.type, info.format) == ("dir", "dir")
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o600


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_creation_that_is_stopped_leaves_no_directory(
    active: ActivePool, tmp_path: Path, steps: int
) -> None:
    making = active.create_volume(VolumeSpec("d", format="dir"))
    for _ in range(steps):
        next(making)
    making.close()
    assert os.listdir(tmp_path) == []


def test_the_inode_of_a_volume_is_told(active: ActivePool, tmp_path: Path) -> None:
    info = run(active.create_volume(VolumeSpec("a", capacity=512, mode=0o640)))
    answer = (tmp_path / "a").stat()
    inode = active.details(info).inode
    assert inode is not None
    assert inode == Inode(
        0o640,
        answer.st_uid,
        answer.st_gid,
        None,
        answer.st_atime_ns,
        answer.st_mtime_ns,
        answer.st_ctime_ns,
        inode.born,
    )
    assert inode.born is None or inode.born <= inode.changed


def test_of_a_link_in_a_volumes_place_nothing_is_told(active: ActivePool, tmp_path: Path) -> None:
    info = run(active.create_volume(VolumeSpec("a", capacity=512)))
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("/etc/passwd")
    inode = active.details(info).inode
    assert inode is not None
    assert inode.mode == 0o777  # the link's own
