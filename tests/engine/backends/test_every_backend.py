"""What every backend does, whatever its pools are made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.conftest import NeedTool
from tests.engine.backends.pool_kinds import KINDS, MIB, PoolKind
from tests.engine.formats.driven import driven
from tests.system.deadline import wait_until

from volary.engine.backends import ActivePool, OpenVolume, backend_for
from volary.engine.errors import VolaryError, VolumeExists, VolumeNotFound
from volary.engine.formats.raw_transfer import FileSink, FileSource
from volary.engine.pool_info import PoolState
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Operation
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec
from volary.engine.wipe_algorithm import WipeAlgorithm

TABLES = 4 * MIB
"""Bytes that a file system may take for its own tables besides a volume's."""


@pytest.fixture(params=KINDS, ids=[kind.name for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> PoolKind:
    found: PoolKind = request.param
    return found


def only(can: Callable[[PoolKind], bool]) -> pytest.MarkDecorator:
    """Run a test over those kinds only that can do what it is about."""
    kinds = [kind for kind in KINDS if can(kind)]
    return pytest.mark.parametrize("kind", kinds, ids=[k.name for k in kinds], indirect=True)


@pytest.fixture
def spec(kind: PoolKind, tmp_path: Path, need_tool: NeedTool) -> Iterator[PoolSpec]:
    with kind.make(tmp_path, need_tool) as made:
        yield made


@pytest.fixture
def active(kind: PoolKind, spec: PoolSpec) -> Iterator[ActivePool]:
    driven(backend_for(spec).build(kind.build))
    pool = driven(backend_for(spec).start())
    yield pool
    driven(pool.stop())


Plan = Callable[..., VolumeSpec]


@pytest.fixture
def plan(kind: PoolKind, spec: PoolSpec) -> Plan:
    """What the pool's volume of some number is to be."""

    def plan(
        number: int = 1, capacity: int = 4 * MIB, allocation: int | None = None
    ) -> VolumeSpec:
        return kind.volume(spec, number, capacity, allocation)

    return plan


def names(active: ActivePool) -> set[str]:
    return set(driven(active.scan({})))


def content(active: ActivePool, info: VolumeInfo) -> bytes:
    with closing(active.open_volume(info.name, info)) as volume:
        return os.pread(volume.fd, info.capacity, 0)


def upload(active: ActivePool, info: VolumeInfo, data: bytes, folder: Path) -> VolumeInfo:
    (folder / "source").write_bytes(data)
    fd = os.open(folder / "source", os.O_RDONLY)
    return driven(
        active.upload_volume(info.name, info, FileSource(fd), offset=0, length=len(data))
    )


# The pool.


def test_what_was_built_can_be_started(active: ActivePool, kind: PoolKind) -> None:
    assert active.state() is PoolState.RUNNING
    assert names(active) == kind.at_first


def test_what_was_not_built_cannot_be_started(spec: PoolSpec) -> None:
    with pytest.raises(VolaryError, match="'pool'"):
        driven(backend_for(spec).start())


def test_a_pool_has_room(active: ActivePool) -> None:
    space = active.space()
    assert 64 * MIB <= space.available <= space.capacity


def test_a_pool_that_is_left_and_one_that_is_stopped_have_the_same_volumes_again(
    kind: PoolKind, spec: PoolSpec, plan: Plan, tmp_path: Path
) -> None:
    backend = backend_for(spec)
    driven(backend.build(kind.build))
    first = driven(backend.start())
    made = driven(first.create_volume(plan()))
    upload(first, made, b"precious", tmp_path)
    before = driven(first.scan({}))
    first.close()
    for _ in range(2):
        again = driven(backend.start())
        try:
            assert driven(again.scan({})) == before
            assert content(again, made)[:8] == b"precious"
        finally:
            driven(again.stop())


# Volumes that are made.


def test_a_created_volume_is_found_as_it_was_told(active: ActivePool, plan: Plan) -> None:
    told = driven(active.create_volume(plan()))
    found = driven(active.scan({}))[told.name]
    assert active.inspect(told.name) == found
    assert (told.name, told.capacity, told.format) == (found.name, found.capacity, found.format)


def test_a_scan_that_knows_the_volumes_finds_the_same(active: ActivePool, plan: Plan) -> None:
    driven(active.create_volume(plan(1)))
    found = driven(active.scan({}))
    driven(active.create_volume(plan(2)))
    assert driven(active.scan(found)) == driven(active.scan({}))


@pytest.mark.parametrize("capacity", [1, MIB - 1, MIB, 3 * MIB + 512])
def test_a_volume_is_as_large_as_asked(
    active: ActivePool, kind: PoolKind, plan: Plan, capacity: int
) -> None:
    made = driven(active.create_volume(plan(capacity=capacity)))
    assert made.capacity == -(-capacity // kind.granule) * kind.granule


def test_a_volume_is_where_its_path_says(active: ActivePool, plan: Plan) -> None:
    made = driven(active.create_volume(plan()))
    with open(active.path(made.name), "rb") as file:
        assert file.seek(0, os.SEEK_END) == made.capacity


def test_volumes_have_keys_of_their_own(active: ActivePool, plan: Plan) -> None:
    infos = [driven(active.create_volume(plan(number))) for number in (1, 2)]
    details = [active.details(info) for info in infos]
    assert [each.info.name for each in details] == [info.name for info in infos]
    assert [each.path for each in details] == [active.path(info.name) for info in infos]
    assert details[0].key != details[1].key


def test_a_new_volume_reads_as_zeros(active: ActivePool, plan: Plan) -> None:
    made = driven(active.create_volume(plan(capacity=MIB)))
    assert content(active, made) == bytes(made.capacity)


def test_an_allocated_volume_says_so(active: ActivePool, plan: Plan) -> None:
    assert driven(active.create_volume(plan(allocation=4 * MIB))).allocation >= 4 * MIB


@only(lambda kind: kind.alone)
def test_an_allocated_volume_takes_its_space_and_gives_it_back(
    active: ActivePool, plan: Plan
) -> None:
    before = active.space().available
    size = 32 * MIB
    made = driven(active.create_volume(plan(capacity=size, allocation=size)))
    wait_until(
        lambda: before - TABLES <= active.space().available + size <= before,
        "the volume's space is taken",
    )
    driven(active.delete_volume(made.name))
    wait_until(lambda: active.space().available >= before - TABLES, "its space is back")


@only(lambda kind: kind.sparse)
def test_a_sparse_volume_takes_no_space(active: ActivePool, plan: Plan) -> None:
    wanted = plan(capacity=32 * MIB)
    assert active.needed(wanted) == 0
    assert driven(active.create_volume(wanted)).allocation <= MIB


def test_what_is_larger_than_the_pool_is_refused(
    active: ActivePool, kind: PoolKind, plan: Plan
) -> None:
    size = 2 * active.space().capacity
    wanted = plan(capacity=size, allocation=size)
    with pytest.raises(VolaryError, match=wanted.name):
        driven(active.create_volume(wanted))
    assert names(active) == kind.at_first


def test_a_name_is_given_once(active: ActivePool, plan: Plan, tmp_path: Path) -> None:
    made = driven(active.create_volume(plan()))
    upload(active, made, b"precious", tmp_path)
    with pytest.raises(VolumeExists, match=made.name):
        driven(active.create_volume(plan()))
    assert content(active, made)[:8] == b"precious"


def test_a_cancelled_creation_leaves_nothing(
    active: ActivePool, kind: PoolKind, plan: Plan
) -> None:
    for steps in range(1000):
        work = active.create_volume(plan(capacity=16 * MIB, allocation=16 * MIB))
        if _is_done_after(work, steps):
            break
        work.close()
        assert names(active) == kind.at_first, f"closed after {steps} steps"
    assert steps > 0


def _is_done_after(work: Operation[VolumeInfo], steps: int) -> bool:
    for _ in range(steps):
        try:
            next(work)
        except StopIteration:
            return True
    return False


@only(lambda kind: kind.clones)
def test_a_clone_has_the_same_content(active: ActivePool, plan: Plan, tmp_path: Path) -> None:
    source = driven(active.create_volume(plan(1)))
    source = upload(active, source, b"precious", tmp_path)
    with closing(active.open_volume(source.name, source)) as volume:
        clone = driven(active.clone_volume(plan(2), [volume], reflink=False, secret=None))
    assert content(active, clone) == content(active, source)


# Volumes that are changed.


def test_what_is_uploaded_is_downloaded(active: ActivePool, plan: Plan, tmp_path: Path) -> None:
    made = driven(active.create_volume(plan()))
    data = os.urandom(MIB + 4096)
    now = upload(active, made, data, tmp_path)
    assert now.capacity == made.capacity
    sink = os.open(tmp_path / "sink", os.O_RDWR | os.O_CREAT)
    with closing(active.open_volume(now.name, now)) as volume:
        work = active.download_volume(
            volume, FileSink(sink), offset=0, length=len(data), sparse=False
        )
        assert driven(work) == len(data)
    assert (tmp_path / "sink").read_bytes() == data


def test_a_wiped_volume_reads_as_zeros(active: ActivePool, plan: Plan, tmp_path: Path) -> None:
    made = driven(active.create_volume(plan(capacity=MIB)))
    now = upload(active, made, os.urandom(MIB), tmp_path)
    wiped = driven(active.wipe_volume(made.name, WipeAlgorithm.ZERO))
    assert wiped.capacity == now.capacity
    assert content(active, wiped) == bytes(wiped.capacity)


@only(lambda kind: kind.resizes)
@pytest.mark.parametrize("capacity", [2 * MIB, 8 * MIB])
def test_a_resized_volume_keeps_what_it_has_room_for(
    active: ActivePool, plan: Plan, tmp_path: Path, capacity: int
) -> None:
    made = driven(active.create_volume(plan()))
    now = upload(active, made, os.urandom(MIB), tmp_path)
    before = content(active, now)
    resized = driven(
        active.resize_volume(now.name, now, capacity, allocate=False, below=(), secret=None)
    )
    assert resized.capacity == capacity
    assert content(active, resized) == before.ljust(capacity, b"\0")[:capacity]


def test_a_deleted_volume_is_gone(active: ActivePool, kind: PoolKind, plan: Plan) -> None:
    made = driven(active.create_volume(plan()))
    driven(active.delete_volume(made.name))
    assert names(active) == kind.at_first
    assert not os.path.exists(active.path(made.name))


def test_a_volume_that_is_read_while_it_is_deleted_stays_readable(
    active: ActivePool, plan: Plan, tmp_path: Path
) -> None:
    made = driven(active.create_volume(plan()))
    now = upload(active, made, b"precious", tmp_path)
    with closing(active.open_volume(now.name, now)) as volume:
        try:
            driven(active.delete_volume(now.name))
        except VolaryError:
            assert now.name in names(active)
        assert os.pread(volume.fd, 8, 0) == b"precious"


# What is not there.


def _open(active: ActivePool, now: VolumeInfo) -> OpenVolume:
    return active.open_volume(now.name, now)


def _wipe(active: ActivePool, now: VolumeInfo) -> VolumeInfo:
    return driven(active.wipe_volume(now.name, WipeAlgorithm.ZERO))


def _inspect(active: ActivePool, now: VolumeInfo) -> VolumeInfo:
    return active.inspect(now.name, now)


@pytest.mark.parametrize("use", [_open, _wipe, _inspect], ids=lambda use: use.__name__)
def test_a_volume_that_vanished_is_not_found(
    active: ActivePool, plan: Plan, use: Callable[[ActivePool, VolumeInfo], object]
) -> None:
    made = driven(active.create_volume(plan()))
    driven(active.delete_volume(made.name))
    with pytest.raises(VolumeNotFound, match=made.name):
        use(active, made)


def test_deleting_what_vanished_is_no_error(active: ActivePool, plan: Plan) -> None:
    driven(active.delete_volume(plan().name))
