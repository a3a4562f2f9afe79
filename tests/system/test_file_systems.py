"""Volumes on every file system that a directory pool may meet."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Literal

import pytest
from tests.system.half_way import TALKATIVE, paused_half_way
from tests.system.leftovers import free_space, names, wait_for_space
from tests.system.loop_mount import KINDS, MIB, Kind, NeedTool, file_system, kernel_has

import volary
from volary import ASYNC, JobState, NoSpace, PoolSpec, PoolStart, VolumeExists, VolumeSpec

Preallocation = Literal["off", "falloc", "full"]

SIZES = [1, 511, 4097, 8 * MIB + 1]
WHOLE = VolumeSpec("a.raw", capacity="48 MiB", preallocation="full")
HIDDEN = ".volary-0123456789abcdef.partial"

# The file systems that tell a file's holes; the rest cannot have any.
_BLOCK = 64 << 10  # more than any of them rounds a file up to


@dataclass(frozen=True)
class Mount:
    """A file system that is mounted, and what it can do."""

    kind: Kind
    where: Path


@pytest.fixture(
    scope="module", params=[kind for kind in KINDS if kernel_has(kind)], ids=lambda kind: kind.name
)
def mount(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    need_root: None,
    need_tool: NeedTool,
) -> Iterator[Mount]:
    kind: Kind = request.param
    with file_system(kind, tmp_path_factory.mktemp(kind.name), need_tool) as where:
        yield Mount(kind, where)


@pytest.fixture
def images(mount: Mount) -> Iterator[Path]:
    """A directory there, gone with all that is in it at the end."""
    path = mount.where / "images"
    path.mkdir()
    before = free_space(mount.where)
    yield path
    for name in names(path):
        (path / name).unlink()
    path.rmdir()
    wait_for_space(mount.where, before)


@pytest.fixture
def images_pool(images: Path, tmp_path: Path) -> Iterator[volary.Pool]:
    with volary.open(state_dir=tmp_path / "state", settings=TALKATIVE) as conn:
        yield conn.create_pool(PoolSpec("images", target=images))


def content_is_zero(path: Path) -> bool:
    with path.open("rb") as file:
        while block := file.read(MIB):
            if block.count(0) != len(block):
                return False
    return True


@contextmanager
def filled(mount: Mount, *, leave: int) -> Iterator[None]:
    """Have all but `leave` bytes of the free space taken, or a MiB or so more."""
    path = mount.where / "filling"
    piece = 16 * MIB
    try:
        with path.open("wb", buffering=0) as file:
            while piece >= MIB and (left := free_space(mount.where) - leave) > 0:
                try:
                    if mount.kind.reserves:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)
                    else:
                        file.write(bytes(min(piece, left)))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 4
        yield
    finally:
        path.unlink()


# What comes out.


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preallocation", ["off", "falloc", "full"])
def test_a_volume_has_its_size_and_reads_as_zeros(
    images_pool: volary.Pool, mount: Mount, images: Path, size: int, preallocation: Preallocation
) -> None:
    spec = VolumeSpec("a.raw", capacity=size, preallocation=preallocation)
    volume = images_pool.create_volume(spec)
    info = volume.info()
    path = images / "a.raw"
    assert names(images) == ["a.raw"]
    assert info == images_pool.volume_infos()[0]
    assert (info.capacity, info.physical, path.stat().st_size) == (size, size, size)
    assert info.allocation == path.stat().st_blocks * 512
    if preallocation == "off":
        assert info.allocation <= (_BLOCK if mount.kind.sparse else size + _BLOCK)
    else:
        # Below a few hundred bytes ntfs and btrfs keep a file within its own record.
        assert info.allocation >= size or size < 1024
        assert info.allocation <= size + _BLOCK
    assert content_is_zero(path)


@pytest.mark.parametrize("allocation", SIZES)
@pytest.mark.parametrize("preallocation", ["falloc", "full"])
def test_a_part_of_a_volume_is_on_disk_when_a_part_was_asked_for(
    images_pool: volary.Pool,
    mount: Mount,
    images: Path,
    allocation: int,
    preallocation: Preallocation,
) -> None:
    capacity = 24 * MIB + 513
    info = images_pool.create_volume(
        VolumeSpec("a.raw", capacity=capacity, allocation=allocation, preallocation=preallocation)
    ).info()
    assert (info.capacity, info.physical) == (capacity, capacity)
    assert info.allocation >= allocation
    if mount.kind.sparse:
        assert info.allocation <= allocation + _BLOCK
    assert content_is_zero(images / "a.raw")


def test_a_volume_has_its_mode_and_owner_or_is_not_there(
    images_pool: volary.Pool, mount: Mount, images: Path
) -> None:
    spec = VolumeSpec("a.raw", capacity=4096, mode=0o640, owner=12, group=34)
    if mount.kind.name == "vfat":  # it keeps neither
        with pytest.raises(volary.VolaryError):
            images_pool.create_volume(spec)
        assert names(images) == []
        return
    images_pool.create_volume(spec)
    answer = (images / "a.raw").stat()
    if mount.kind.name != "ntfs":  # it takes them, and forgets them
        assert (answer.st_mode & 0o7777, answer.st_uid, answer.st_gid) == (0o640, 12, 34)


def test_a_deleted_volume_gives_its_space_back(
    images_pool: volary.Pool, mount: Mount, images: Path
) -> None:
    before = free_space(images)
    images_pool.create_volume(WHOLE).delete()
    assert names(images) == []
    wait_for_space(images, before)


def test_the_pool_counts_a_volumes_space_once(images_pool: volary.Pool, images: Path) -> None:
    before = images_pool.info().available
    images_pool.create_volume(WHOLE)
    taken = before - images_pool.info().available
    assert abs(taken - WHOLE.allocation) <= 4 * MIB


# Cancelling.


def test_a_cancelled_allocation_leaves_nothing(images_pool: volary.Pool, images: Path) -> None:
    before = free_space(images)
    job = paused_half_way(images_pool, WHOLE)
    assert job.cancel()
    assert names(images) == []
    assert images_pool.volumes() == []
    wait_for_space(images, before)


def test_a_volume_has_no_name_while_it_is_written(
    images_pool: volary.Pool, mount: Mount, images: Path
) -> None:
    job = paused_half_way(images_pool, WHOLE)
    there = names(images)
    assert len(there) == (0 if mount.kind.unnamed else 1)
    assert all(name.startswith(".volary-") for name in there)
    job.resume()
    job.result(20)
    assert names(images) == ["a.raw"]


def test_space_promised_to_a_job_is_promised_to_no_other(
    images_pool: volary.Pool, images: Path
) -> None:
    job = paused_half_way(images_pool, WHOLE)
    left = images_pool.info().available
    with pytest.raises(NoSpace):
        images_pool.create_volume(
            VolumeSpec("b.raw", capacity=left + 16 * MIB, preallocation="full")
        )
    job.cancel()


# Names that are taken.


def test_a_name_that_is_taken_is_refused_and_its_volume_untouched(
    images_pool: volary.Pool, images: Path
) -> None:
    images_pool.create_volume(VolumeSpec("a.raw", capacity=511))
    (images / "a.raw").write_bytes(b"guest")
    for preallocation in ("off", "full"):
        with pytest.raises(VolumeExists):
            images_pool.create_volume(
                VolumeSpec("a.raw", capacity="1 MiB", preallocation=preallocation)
            )
    assert (images / "a.raw").read_bytes() == b"guest"
    assert names(images) == ["a.raw"]


@pytest.mark.parametrize("preallocation", ["off", "falloc", "full"])
def test_a_file_that_came_after_the_scan_is_not_replaced(
    images_pool: volary.Pool, images: Path, preallocation: Preallocation
) -> None:
    (images / "a.raw").write_bytes(b"somebody else's")
    before = free_space(images)
    with pytest.raises(VolumeExists, match=r"a file of that name is in .*; choose another"):
        images_pool.create_volume(
            VolumeSpec("a.raw", capacity="1 MiB", preallocation=preallocation)
        )
    assert (images / "a.raw").read_bytes() == b"somebody else's"
    assert names(images) == ["a.raw"]
    wait_for_space(images, before)


def test_a_file_that_came_while_the_volume_was_written_is_not_replaced(
    images_pool: volary.Pool, images: Path
) -> None:
    before = free_space(images)
    job = paused_half_way(images_pool, WHOLE)
    (images / "a.raw").write_bytes(b"somebody else's")
    job.resume()
    with pytest.raises(VolumeExists):
        job.result(20)
    assert (images / "a.raw").read_bytes() == b"somebody else's"
    assert names(images) == ["a.raw"]
    wait_for_space(images, before)


@pytest.mark.parametrize("other", ["directory", "link", "fifo"])
def test_what_is_no_file_is_not_replaced(
    images_pool: volary.Pool, mount: Mount, images: Path, other: str
) -> None:
    path = images / "a.raw"
    if other == "directory":
        path.mkdir()
    elif mount.kind.name == "vfat":
        return  # it has neither links nor FIFOs
    elif other == "link":
        path.symlink_to("/nowhere")
    else:
        os.mkfifo(path)
    try:
        with pytest.raises(VolumeExists):
            images_pool.create_volume(VolumeSpec("a.raw", capacity=1))
        assert names(images) == ["a.raw"]
    finally:
        if other == "directory":
            path.rmdir()


# Room that is not there.


@pytest.mark.parametrize("preallocation", ["falloc", "full"])
def test_a_volume_larger_than_the_free_space_is_refused_at_once(
    images_pool: volary.Pool, images: Path, preallocation: Preallocation
) -> None:
    size = images_pool.info().available + 4096
    with pytest.raises(NoSpace, match="delete something, or allocate less"):
        images_pool.create_volume(VolumeSpec("a.raw", capacity=size, preallocation=preallocation))
    assert names(images) == []


def test_a_sparse_volume_may_be_larger_than_the_free_space(
    images_pool: volary.Pool, mount: Mount, images: Path
) -> None:
    if not mount.kind.sparse:
        with pytest.raises(NoSpace):
            images_pool.create_volume(VolumeSpec("a.raw", capacity="1 GiB"))
        assert names(images) == []
        return
    assert images_pool.create_volume(VolumeSpec("a.raw", capacity="1 GiB")).info().allocation < MIB


def test_space_that_somebody_took_meanwhile_fails_the_job_or_was_reserved_for_it(
    images_pool: volary.Pool, mount: Mount, images: Path
) -> None:
    before = free_space(images)
    job = paused_half_way(images_pool, WHOLE)
    with filled(mount, leave=8 * MIB):
        job.resume()
        if mount.kind.reserves:
            info = job.result(20).info()
            assert info.allocation >= WHOLE.allocation
            images_pool.volume("a.raw").delete()
        else:
            with pytest.raises(NoSpace, match=r"creating volume 'a\.raw' of pool 'images'"):
                job.result(20)
            assert images_pool.volumes() == []
        assert [name for name in names(images) if name != "filling"] == []
    wait_for_space(images, before)


@pytest.mark.parametrize("preallocation", ["falloc", "full"])
def test_a_file_system_that_has_less_than_it_says_fails_the_job_and_leaves_nothing(
    images_pool: volary.Pool, mount: Mount, images: Path, preallocation: Preallocation
) -> None:
    # All that is free, to the byte: a file system needs some of it for its own tables, or it is
    # taken by somebody else before the job gets there.
    before = free_space(images)
    with filled(mount, leave=48 * MIB):
        size = images_pool.info().available
        assert size > 0
        job = images_pool.create_volume(
            VolumeSpec("a.raw", capacity=size, preallocation=preallocation), ASYNC
        )
        error = job.exception(30)
        if error is None:
            assert images_pool.volume("a.raw").info().allocation >= size
            images_pool.volume("a.raw").delete()
        else:
            assert isinstance(error, NoSpace), error
            assert job.state is JobState.FAILED
        assert names(images) == []
    wait_for_space(images, before)


# What a killed process left.


def test_a_hidden_file_whose_maker_is_gone_is_removed_at_the_start(
    images: Path, tmp_path: Path
) -> None:
    before = free_space(images)
    (images / HIDDEN).write_bytes(bytes(4 * MIB))
    with volary.open(state_dir=tmp_path / "state") as conn:
        pool = conn.create_pool(PoolSpec("images", target=images))
        assert pool.volumes() == []
        assert names(images) == []
        wait_for_space(images, before)


def test_a_hidden_file_whose_maker_is_gone_is_removed_by_a_refresh(
    images_pool: volary.Pool, images: Path
) -> None:
    (images / HIDDEN).write_bytes(b"half")
    images_pool.refresh()
    assert names(images) == []


def test_a_hidden_file_of_a_living_process_stays_until_it_ends(
    images_pool: volary.Pool, images: Path
) -> None:
    maker = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", maker, images / HIDDEN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        images_pool.refresh()
        assert names(images) == [HIDDEN]
        assert images_pool.volumes() == []
        child.kill()
    images_pool.refresh()
    assert names(images) == []


def test_a_hidden_file_of_another_engine_in_this_process_stays(
    images_pool: volary.Pool, mount: Mount, images: Path, tmp_path: Path
) -> None:
    job = paused_half_way(images_pool, WHOLE)
    before = names(images)
    with volary.open(state_dir=tmp_path / "other") as conn:
        conn.create_pool(PoolSpec("images", target=images)).refresh()
    assert names(images) == before
    job.resume()
    assert job.result(20).info().allocation >= WHOLE.allocation


def test_creations_succeed_while_refreshes_look_for_what_was_left(
    images_pool: volary.Pool, images: Path
) -> None:
    enough = Event()

    def refresh() -> None:
        while not enough.is_set():
            images_pool.refresh()

    thread = Thread(target=refresh)
    thread.start()
    try:
        for number in range(100):
            images_pool.create_volume(VolumeSpec(f"v-{number}", capacity=1))
    finally:
        enough.set()
        thread.join(20)
    assert len(names(images)) == len(images_pool.volumes()) == 100


def test_a_refresh_finds_a_file_that_came_by_other_ways(
    images_pool: volary.Pool, images: Path
) -> None:
    for name in ("a.raw", "b.raw"):
        (images / name).write_bytes(b"guest")
        images_pool.refresh()
        assert images_pool.volume(name).info().capacity == 5
    (images / "a.raw").unlink()
    images_pool.refresh()
    assert [volume.name for volume in images_pool.volumes()] == ["b.raw"]


def test_refreshes_at_the_same_time_each_find_every_volume(
    images_pool: volary.Pool, images: Path
) -> None:
    for number in range(1500):  # more than one getdents(2) returns
        (images / f"v-{number}").touch()
    for _ in range(4):
        jobs = [images_pool.refresh(ASYNC) for _ in range(4)]
        for job in jobs:
            job.result(20)
            assert len(images_pool.volumes()) == 1500


def test_a_hidden_link_and_a_hidden_directory_are_nobodys_volume_and_stay(
    images_pool: volary.Pool, mount: Mount, images: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    (images / HIDDEN / "in it").mkdir(parents=True)
    try:
        if mount.kind.name != "vfat":
            (images / ".volary-f.partial").symlink_to(outside)
        there = names(images)
        images_pool.refresh()
        assert names(images) == there
        assert images_pool.volumes() == []
        assert outside.read_bytes() == b"precious"
    finally:
        shutil.rmtree(images / HIDDEN)


# The end.


def test_a_closed_engine_holds_nothing_open(mount: Mount, tmp_path: Path) -> None:
    target = mount.where / "busy"
    with volary.open(state_dir=tmp_path / "state", settings=TALKATIVE) as conn:
        pool = conn.create_pool(PoolSpec("images", target=target), PoolStart.BUILD)
        pool.create_volume(VolumeSpec("a.raw", capacity="1 MiB", preallocation="full")).delete()
        paused_half_way(pool, WHOLE)
    held = [
        path
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
        and (path := os.readlink(f"/proc/self/fd/{fd}")).startswith(str(mount.where))
    ]
    assert held == []
    target.rmdir()
