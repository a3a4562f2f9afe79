from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest

from volary.engine.backends import ActivePool, backend_for
from volary.engine.errors import (
    AccessDenied,
    StorageFailed,
    TargetNotEmpty,
    TargetUnusable,
    VolumeExists,
    VolumeNotFound,
)
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Operation
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec

T = TypeVar("T")
MIB = 1 << 20


def run(operation: Operation[T]) -> T:
    """Drive an operation to its end, as a worker does."""
    while True:
        try:
            next(operation)
        except StopIteration as stop:
            result: T = stop.value
            return result


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "images"


@pytest.fixture
def spec(target: Path) -> PoolSpec:
    return PoolSpec("images", target=target, uuid=uuid4())


@pytest.fixture
def active(spec: PoolSpec) -> ActivePool:
    backend = backend_for(spec)
    run(backend.build())
    return run(backend.start())


def test_building_makes_the_target_with_libvirts_mode(spec: PoolSpec, target: Path) -> None:
    run(backend_for(spec).build())
    assert stat.S_IMODE(target.stat().st_mode) == 0o711


def test_building_gives_the_target_its_mode_and_owner(target: Path) -> None:
    mine = PoolSpec("a", target=target, mode=0o750, owner=os.geteuid(), group=os.getegid())
    run(backend_for(mine).build())
    answer = target.stat()
    assert stat.S_IMODE(answer.st_mode) == 0o750
    assert (answer.st_uid, answer.st_gid) == (os.geteuid(), os.getegid())


def test_building_again_keeps_what_is_there(spec: PoolSpec, target: Path) -> None:
    target.mkdir(parents=True, mode=0o755)
    (target / "a").write_text("precious")
    run(backend_for(spec).build())
    assert (target / "a").read_text() == "precious"
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_building_on_a_file_is_refused(spec: PoolSpec, target: Path) -> None:
    target.parent.mkdir()
    target.write_text("precious")
    with pytest.raises(TargetUnusable, match="is no directory"):
        run(backend_for(spec).build())
    assert target.read_text() == "precious"


def test_starting_without_a_target_says_to_build_it(spec: PoolSpec) -> None:
    with pytest.raises(TargetUnusable, match="is missing; build the pool first"):
        run(backend_for(spec).start())


def test_starting_on_a_file_is_refused(spec: PoolSpec, target: Path) -> None:
    target.parent.mkdir()
    target.touch()
    with pytest.raises(TargetUnusable, match="is no directory"):
        run(backend_for(spec).start())


def test_deleting_removes_an_empty_target(spec: PoolSpec, target: Path) -> None:
    run(backend_for(spec).build())
    run(backend_for(spec).delete())
    assert not target.exists()


def test_deleting_never_takes_a_volume_along(spec: PoolSpec, target: Path) -> None:
    run(backend_for(spec).build())
    (target / "a").write_text("precious")
    with pytest.raises(TargetNotEmpty, match="delete the volumes"):
        run(backend_for(spec).delete())
    assert (target / "a").read_text() == "precious"


def test_a_scan_finds_files_and_directories_and_nothing_else(
    active: ActivePool, target: Path
) -> None:
    (target / "a").write_bytes(b"x" * 5000)
    (target / ".dotted").touch()
    (target / "directory").mkdir()
    (target / "inside").symlink_to("a")
    (target / "outside").symlink_to("/etc/passwd")
    (target / "dangling").symlink_to("nowhere")
    os.mkfifo(target / "fifo")
    (target / "with\nnewline").touch()
    (target / ".fuse_hidden000001400000008b").touch()
    (target / ".nfs000000000123456700000001").touch()
    (target / os.fsdecode(b"\xff")).touch()
    found = run(active.scan({}))
    assert sorted(found) == [".dotted", "a", "directory"]
    modified = os.stat(target / "a").st_mtime_ns
    assert found["a"] == VolumeInfo("a", 5000, 8192, 5000, modified=modified)
    assert (found["directory"].type, found["directory"].format) == ("dir", "dir")


def test_a_scan_removes_what_a_crash_left(active: ActivePool, target: Path) -> None:
    (target / ".volary-0123456789abcdef.partial").touch()
    assert run(active.scan({})) == {}
    assert os.listdir(target) == []


def test_a_directory_is_deleted_when_it_is_empty(active: ActivePool, target: Path) -> None:
    (target / "a").mkdir()
    (target / "a" / "precious").touch()
    with pytest.raises(StorageFailed, match=r"'a'.*not empty"):
        run(active.delete_volume("a"))
    (target / "a" / "precious").unlink()
    run(active.delete_volume("a"))
    assert os.listdir(target) == []


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/etc/passwd")])
def test_what_is_neither_file_nor_directory_is_no_volume(
    active: ActivePool, target: Path, make: Callable[[Path], None]
) -> None:
    make(target / "a")
    with pytest.raises(VolumeNotFound):
        active.inspect("a")
    with pytest.raises(VolumeNotFound):
        run(active.delete_volume("a"))
    assert os.path.lexists(target / "a")


def test_creating_makes_the_file_as_asked(active: ActivePool, target: Path) -> None:
    info = run(
        active.create_volume(
            VolumeSpec(
                "a",
                capacity=8 * MIB,
                allocation=MIB,
                mode=0o640,
                owner=os.geteuid(),
                group=os.getegid(),
            )
        )
    )
    assert info == active.inspect("a")
    assert (info.capacity, info.physical) == (8 * MIB, 8 * MIB)
    assert MIB <= info.allocation < 2 * MIB
    assert stat.S_IMODE((target / "a").stat().st_mode) == 0o640


def test_a_volume_is_private_unless_asked_otherwise(active: ActivePool, target: Path) -> None:
    run(active.create_volume(VolumeSpec("a", capacity=1)))
    assert stat.S_IMODE((target / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_creating_replaces_nothing(active: ActivePool, target: Path, kind: str) -> None:
    match kind:
        case "file":
            (target / "a").write_text("precious")
        case "directory":
            (target / "a").mkdir()
        case "link":
            (target / "a").symlink_to("/nowhere")
    with pytest.raises(VolumeExists, match="choose another name"):
        run(active.create_volume(VolumeSpec("a", capacity=1)))
    assert os.listdir(target) == ["a"]
    assert not os.path.exists("/nowhere")


def test_closing_a_creation_early_leaves_nothing(active: ActivePool, target: Path) -> None:
    work = active.create_volume(VolumeSpec("a", capacity=32 * MIB, preallocation="full"))
    next(work)
    next(work)
    work.close()
    assert os.listdir(target) == []


def test_creating_in_a_target_that_was_removed_says_so(active: ActivePool, target: Path) -> None:
    target.rmdir()
    with pytest.raises(TargetUnusable, match="is gone"):
        run(active.create_volume(VolumeSpec("a", capacity=1)))


def test_a_capacity_above_the_file_systems_largest_file_is_refused(
    active: ActivePool, target: Path
) -> None:
    with pytest.raises(StorageFailed, match=r"largest file|too large") as caught:
        run(active.create_volume(VolumeSpec("a", capacity=2**63 - 1)))
    assert "'a' of pool 'images'" in str(caught.value)
    assert os.listdir(target) == []


def test_deleting_a_volume_that_is_gone_is_no_error(active: ActivePool) -> None:
    run(active.delete_volume("a"))


def test_an_owner_that_may_not_be_given_is_refused(active: ActivePool, target: Path) -> None:
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        work = active.create_volume(VolumeSpec("a", capacity=1, owner=1))
        with pytest.raises(AccessDenied, match="give the user with id 65534 the right"):
            run(work)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
            os.setegid(0)
    assert os.listdir(target) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_volume_that_is_given_away_keeps_every_bit_of_its_mode(
    active: ActivePool, target: Path
) -> None:
    run(active.create_volume(VolumeSpec("a", capacity=1, mode=0o755, owner=1, group=1)))
    answer = (target / "a").stat()
    assert (stat.S_IMODE(answer.st_mode), answer.st_uid, answer.st_gid) == (0o755, 1, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory away")
def test_a_target_that_is_given_away_keeps_every_bit_of_its_mode(target: Path) -> None:
    run(backend_for(PoolSpec("a", target=target, mode=0o770, owner=1, group=1)).build())
    answer = target.stat()
    assert (stat.S_IMODE(answer.st_mode), answer.st_uid, answer.st_gid) == (0o770, 1, 1)


def test_a_building_that_fails_leaves_no_directory_that_it_made(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "one" / "two" / ("x" * 300)
    with pytest.raises(StorageFailed, match="File name too long"):
        run(backend_for(PoolSpec("a", target=target)).build())
    assert os.listdir(tmp_path / "there") == []


def test_building_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StorageFailed, match="Not a directory"):
        run(backend_for(PoolSpec("a", target=tmp_path / "file" / "images")).build())
    assert (tmp_path / "file").read_text() == "precious"


def test_building_makes_the_directories_above_as_others_do(spec: PoolSpec, target: Path) -> None:
    (target.parent.parent / "usual").mkdir()
    run(backend_for(spec).build())
    assert target.parent.stat().st_mode == (target.parent.parent / "usual").stat().st_mode
