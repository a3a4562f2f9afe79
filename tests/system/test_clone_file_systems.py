"""Copying, sharing, wiping and trimming on every file system that a directory pool may meet."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.engine.formats.driven import driven
from tests.engine.formats.sparse_file import (
    MIB,
    blocks,
    bytes_of,
    content,
    data_map,
    sparse_file,
)
from tests.system.loop_mount import (
    BTRFS,
    EXT2,
    EXT3,
    EXT4,
    KINDS,
    OVERLAY,
    TMPFS,
    XFS,
    Kind,
    NeedTool,
    file_system,
    kernel_has,
)

from volary.engine.errors import StorageFailed
from volary.engine.formats.raw_copy import copy, reflink
from volary.engine.formats.raw_resize import resize
from volary.engine.formats.raw_transfer import upload
from volary.engine.formats.raw_wipe import wipe
from volary.engine.hole import Hole
from volary.engine.pipe import Pipe
from volary.engine.wipe_algorithm import WipeAlgorithm

SHARING = (XFS, BTRFS)
PUNCHING = (EXT4, EXT3, EXT2, XFS, BTRFS, TMPFS, OVERLAY)

SIZE = 24 * MIB
DATA = [(0, 5 * MIB + 1), (16 * MIB, 3 * MIB)]


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


@contextmanager
def two_files(where: Path) -> Iterator[tuple[int, int]]:
    """A source with data and holes, and an empty target."""
    with sparse_file(where / "a", SIZE, DATA) as source, sparse_file(where / "b", 0, []) as target:
        yield source, target
    (where / "a").unlink()
    (where / "b").unlink()


def shares(path: Path, need_tool: NeedTool) -> bool:
    """Say whether some of a file's blocks are another's, too."""
    os.sync()
    told = subprocess.run(
        [need_tool("filefrag", "e2fsprogs"), "-v", path],
        capture_output=True,
        text=True,
        check=True,
    )
    return "shared" in told.stdout


def test_a_copy_has_content_and_holes_and_shares_nothing(
    mount: Mount, need_tool: NeedTool
) -> None:
    with two_files(mount.where) as (source, target):
        os.ftruncate(target, SIZE)
        driven(copy(source, target, length=SIZE))
        os.fsync(target)
        assert bytes_of(target) == bytes_of(source)
        if data_map(source) != [(0, SIZE)]:  # it can tell where holes are
            assert data_map(target) == data_map(source)
            assert blocks(target) < 10 * MIB
        if mount.kind in SHARING:
            assert not shares(mount.where / "b", need_tool)


def test_blocks_are_shared_where_the_file_system_can(mount: Mount, need_tool: NeedTool) -> None:
    with two_files(mount.where) as (source, target):
        assert reflink(source, target) == (mount.kind in SHARING)
        if mount.kind not in SHARING:
            assert os.fstat(target).st_size == 0
            return
        assert bytes_of(target) == bytes_of(source)
        assert shares(mount.where / "b", need_tool)


@pytest.mark.parametrize("algorithm", [WipeAlgorithm.ZERO, WipeAlgorithm.TRIM])
def test_wiping_one_of_two_that_share_leaves_the_other(
    mount: Mount, algorithm: WipeAlgorithm
) -> None:
    if mount.kind not in SHARING:
        return
    with two_files(mount.where) as (source, target):
        assert reflink(source, target)
        before = bytes_of(source)
        driven(wipe(target, SIZE, algorithm))
        assert bytes_of(target) == bytes(SIZE)
        assert bytes_of(source) == before


def test_a_wipe_leaves_nothing(mount: Mount) -> None:
    with two_files(mount.where) as (source, _):
        driven(wipe(source, SIZE, WipeAlgorithm.NNSA))
        assert bytes_of(source) == bytes(SIZE)


def test_a_trim_gives_back_the_space_or_says_that_it_cannot(mount: Mount) -> None:
    with two_files(mount.where) as (source, _):
        before = bytes_of(source)
        if mount.kind in PUNCHING:
            driven(wipe(source, SIZE, WipeAlgorithm.TRIM))
            os.fsync(source)
            assert bytes_of(source) == bytes(SIZE)
            assert blocks(source) <= 4096  # ext2 keeps the blocks that lead to others
        else:
            with pytest.raises(StorageFailed, match="cannot give back a part of a file"):
                driven(wipe(source, SIZE, WipeAlgorithm.TRIM))
            assert bytes_of(source) == before


def test_an_uploaded_hole_reads_as_zeros(mount: Mount) -> None:
    pipe = Pipe()
    pipe.put(b"first")
    pipe.put(Hole(SIZE - 10))
    pipe.put(b"after")
    pipe.end()
    with two_files(mount.where) as (source, _):
        driven(upload(source, pipe, offset=0, length=SIZE, capacity=SIZE))
        os.fsync(source)
        assert bytes_of(source) == b"first" + bytes(SIZE - 10) + b"after"
        if mount.kind in PUNCHING:
            assert blocks(source) <= MIB


def test_a_resize_that_is_short_of_space_changes_nothing(mount: Mount) -> None:
    room = os.statvfs(mount.where)
    with sparse_file(mount.where / "a", 5000, [(0, 5000)]) as fd:
        os.fsync(fd)
        before = blocks(fd)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            driven(resize(fd, 2 * room.f_blocks * room.f_frsize, allocate=True))
        os.fsync(fd)
        assert os.fstat(fd).st_size == 5000
        assert bytes_of(fd) == content(5000, 0)
        assert blocks(fd) <= before + 64 * 1024
    (mount.where / "a").unlink()
