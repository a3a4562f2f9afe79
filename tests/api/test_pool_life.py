"""Pools that are defined anew, started from another definition, and taken away from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import volary
from volary import PoolBuild, PoolDelete, PoolList, PoolSpec, PoolStart, PoolState, PoolXml

RADOS = volary.PoolSource(hosts=(volary.SourceHost("peer.invalid"),), name="images")
INACTIVE = volary.PoolInfo(PoolState.INACTIVE)


@pytest.fixture
def defined(conn: volary.Connection, target: Path) -> volary.Pool:
    """A persistent pool that was built and is not active."""
    pool = conn.define_pool(PoolSpec("images", target=target))
    pool.build()
    return pool


def like(pool: volary.Pool, target: Path, mode: int | None = None) -> PoolSpec:
    """Return a definition with the pool's name and UUID."""
    return PoolSpec(pool.name, uuid=pool.uuid, target=target, mode=mode)


def stored(conn: volary.Connection, name: str = "images") -> str:
    return Path(conn.state_dir, f"{name}.xml").read_text(encoding="utf-8")


# Definitions.


def test_an_inactive_pool_is_redefined_at_once(
    conn: volary.Connection, defined: volary.Pool, tmp_path: Path
) -> None:
    again = conn.define_pool(like(defined, tmp_path / "other"))
    assert again == defined
    assert defined.target == str(tmp_path / "other")
    assert f"<path>{tmp_path}/other</path>" in defined.xml()
    assert f"<path>{tmp_path}/other</path>" in stored(conn)
    assert conn.pools() == [defined]


def test_an_active_pool_is_redefined_from_its_next_start_on(
    conn: volary.Connection, defined: volary.Pool, target: Path, tmp_path: Path
) -> None:
    defined.start()
    conn.define_pool(like(defined, tmp_path / "other"))
    assert defined.target == str(target)
    assert f"<path>{target}</path>" in defined.xml()
    assert f"<path>{tmp_path}/other</path>" in defined.xml(PoolXml.INACTIVE)
    assert f"<path>{tmp_path}/other</path>" in stored(conn)
    volume = defined.create_volume(volary.VolumeSpec("a", capacity=1))
    assert volume.path == str(target / "a")
    defined.stop()
    assert defined.target == str(tmp_path / "other")
    assert defined.xml() == defined.xml(PoolXml.INACTIVE)
    defined.start(PoolStart.BUILD)
    assert defined.volumes() == []
    assert conn.pool_by_target(tmp_path / "other") == defined
    with pytest.raises(volary.PoolNotFound):
        conn.pool_by_target(target)


def test_a_redefinition_outlives_the_engine(tmp_path: Path) -> None:
    with volary.open(state_dir=tmp_path / "state") as conn:
        pool = conn.create_pool(PoolSpec("p", target=tmp_path / "a"), PoolStart.BUILD)
        pool = conn.define_pool(like(pool, tmp_path / "b"))
        pool.autostart = True
        pool = conn.define_pool(like(pool, tmp_path / "c"))
        assert pool.target == str(tmp_path / "a")
    (tmp_path / "c").mkdir()
    with volary.open(state_dir=tmp_path / "state") as conn:
        assert conn.pool("p").target == str(tmp_path / "c")
        assert conn.pool("p").is_active


def test_a_transient_pool_becomes_persistent(
    conn: volary.Connection, pool: volary.Pool, target: Path
) -> None:
    assert conn.define_pool(like(pool, target)) == pool
    assert (pool.is_active, pool.is_persistent) == (True, True)
    pool.stop()
    assert conn.pools() == [pool]
    pool.undefine()
    assert conn.pools() == []


def test_a_defined_pool_can_be_started_once_from_another_definition(
    conn: volary.Connection, defined: volary.Pool, target: Path, tmp_path: Path
) -> None:
    assert conn.create_pool(like(defined, tmp_path / "b"), PoolStart.BUILD) == defined
    assert (defined.is_active, defined.is_persistent) == (True, True)
    assert defined.target == str(tmp_path / "b")
    assert f"<path>{target}</path>" in defined.xml(PoolXml.INACTIVE)
    defined.stop()
    assert defined.target == str(target)
    with pytest.raises(volary.TargetUnusable):
        conn.create_pool(like(defined, tmp_path / "missing"))
    assert (defined.is_active, defined.target) == (False, str(target))


def test_an_active_pool_is_not_created(
    conn: volary.Connection, pool: volary.Pool, target: Path
) -> None:
    with pytest.raises(volary.PoolActive, match="is active already"):
        conn.create_pool(like(pool, target))
    assert pool.is_active


def test_a_redefinition_that_cannot_be_saved_leaves_the_old_one(
    conn: volary.Connection, defined: volary.Pool, target: Path, tmp_path: Path
) -> None:
    path = Path(conn.state_dir, "images.xml")
    path.unlink()
    path.mkdir()  # no file takes its place
    with pytest.raises(volary.StorageFailed, match="saving the definition of pool 'images'"):
        conn.define_pool(like(defined, tmp_path / "other"))
    assert (defined.target, defined.is_persistent) == (str(target), True)
    conn.define_pool(PoolSpec("another", target=tmp_path / "other"))


def test_a_definition_that_cannot_be_saved_is_no_pool(
    conn: volary.Connection, target: Path
) -> None:
    Path(conn.state_dir, "images.xml").mkdir()
    with pytest.raises(volary.StorageFailed):
        conn.define_pool(PoolSpec("images", target=target))
    assert conn.pools() == []
    conn.create_pool(PoolSpec("images", target=target), PoolStart.BUILD)


def test_a_pool_is_redefined_while_its_volumes_are_made(
    conn: volary.Connection, pool: volary.Pool, target: Path
) -> None:
    job = pool.create_volume(
        volary.VolumeSpec("long", capacity="64 MiB", preallocation="full"), volary.ASYNC
    )
    job.pause()
    for _ in range(3):
        conn.define_pool(like(pool, target))
    assert not job.done()
    job.resume()
    assert job.result().name == "long"


# Types without a backend.


def test_a_pool_without_a_backend_is_defined_and_described_but_not_started(
    conn: volary.Connection,
) -> None:
    pool = conn.define_pool(PoolSpec("r", type="rbd", source=RADOS))
    assert (pool.target, pool.type, pool.info()) == ("", "rbd", INACTIVE)
    assert "<pool type='rbd'>" in pool.xml()
    for call in (pool.start, pool.build, pool.delete):
        with pytest.raises(volary.BackendMissing, match="no backend yet"):
            call()
    with pytest.raises(volary.BackendMissing):
        conn.create_pool(PoolSpec("other", type="rbd", source=RADOS))
    pool.autostart = True
    conn.define_pool(PoolSpec("r", type="rbd", source=RADOS, uuid=pool.uuid))
    assert conn.pools(PoolList.RBD | PoolList.AUTOSTART) == [pool]
    pool.undefine()
    assert conn.pools() == []


def test_an_autostart_without_a_backend_keeps_nobody_else_out(tmp_path: Path) -> None:
    with volary.open(state_dir=tmp_path / "state") as conn:
        conn.define_pool(PoolSpec("a", type="rbd", source=RADOS)).autostart = True
        pool = conn.define_pool(PoolSpec("b", target=tmp_path / "b"))
        pool.build()
        pool.autostart = True
    with volary.open(state_dir=tmp_path / "state") as conn:
        assert [pool.name for pool in conn.pools(PoolList.ACTIVE)] == ["b"]


# Flags.


def test_pools_are_listed_that_have_one_of_each_group(
    conn: volary.Connection, pool: volary.Pool, tmp_path: Path
) -> None:
    other = conn.define_pool(PoolSpec("other", target=tmp_path / "other"))
    other.autostart = True
    for flags, listed in (
        (PoolList.NONE, [pool, other]),
        (PoolList.ACTIVE, [pool]),
        (PoolList.INACTIVE, [other]),
        (PoolList.ACTIVE | PoolList.INACTIVE, [pool, other]),
        (PoolList.PERSISTENT, [other]),
        (PoolList.TRANSIENT, [pool]),
        (PoolList.AUTOSTART, [other]),
        (PoolList.NO_AUTOSTART | PoolList.DIR, [pool]),
        (PoolList.ACTIVE | PoolList.AUTOSTART, []),
        (PoolList.DISK | PoolList.FS, []),
        (PoolList.DISK | PoolList.DIR, [pool, other]),
    ):
        assert conn.pools(flags) == listed, flags
    with pytest.raises(volary.InvalidSpec, match="unknown flags"):
        conn.pools(1 << 25)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda pool: pool.build(PoolBuild.OVERWRITE), volary.NothingToFormat),
        (lambda pool: pool.build(PoolBuild.NO_OVERWRITE), volary.NothingToFormat),
        (lambda pool: pool.build(PoolBuild.RESIZE), volary.InvalidSpec),
        (
            lambda pool: pool.build(PoolBuild.OVERWRITE | PoolBuild.NO_OVERWRITE),
            volary.InvalidSpec,
        ),
        (lambda pool: pool.start(PoolStart.BUILD_OVERWRITE), volary.NothingToFormat),
        (
            lambda pool: pool.start(PoolStart.BUILD_OVERWRITE | PoolStart.BUILD_NO_OVERWRITE),
            volary.InvalidSpec,
        ),
        (lambda pool: pool.delete(PoolDelete.ZEROED), volary.InvalidSpec),
        (lambda pool: pool.xml(2), volary.InvalidSpec),
    ],
)
def test_a_flag_that_means_nothing_for_a_directory_is_refused(
    conn: volary.Connection,
    target: Path,
    call: Callable[[volary.Pool], object],
    error: type[volary.VolaryError],
) -> None:
    pool = conn.define_pool(PoolSpec("images", target=target))
    with pytest.raises(error):
        call(pool)
    assert not target.exists()
    assert not pool.is_active


# What an active pool is found to be.


def test_the_document_of_an_active_pool_tells_what_its_target_is(
    conn: volary.Connection, defined: volary.Pool, target: Path
) -> None:
    assert "<permissions>" not in defined.xml()
    target.chmod(0o750)
    defined.start()
    assert "<mode>0750</mode>" in defined.xml()
    assert f"<owner>{os.geteuid()}</owner>" in defined.xml()
    assert "<permissions>" not in defined.xml(PoolXml.INACTIVE)
    defined.stop()
    assert "<permissions>" not in defined.xml()


@pytest.mark.parametrize("how", ["removed", "replaced", "renamed"])
def test_a_pool_whose_directory_was_taken_away_is_inaccessible(
    pool: volary.Pool, target: Path, how: str
) -> None:
    volume = pool.create_volume(volary.VolumeSpec("a", capacity=1))
    if how == "removed":
        (target / "a").unlink()
        target.rmdir()
    else:
        target.rename(target.with_name("elsewhere"))
        if how == "replaced":
            target.mkdir()
    assert pool.info().state is PoolState.INACCESSIBLE
    assert "<pool type='dir'>" in pool.xml()
    assert pool.is_active
    assert pool.volumes() == [volume]
    with pytest.raises(volary.TargetUnusable, match="was taken away from"):
        pool.refresh()
    assert pool.volumes() == [volume]
    pool.stop()


def test_a_pool_that_is_put_back_goes_on(pool: volary.Pool, target: Path) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=1))
    target.rename(target.with_name("elsewhere"))
    assert pool.info().state is PoolState.INACCESSIBLE
    target.with_name("elsewhere").rename(target)
    assert pool.info().state is PoolState.RUNNING
    pool.refresh()
    assert [volume.name for volume in pool.volumes()] == ["a"]


# Pools and their targets.


def test_a_target_is_found_by_another_word_for_it(conn: volary.Connection, tmp_path: Path) -> None:
    pool = conn.create_pool(PoolSpec("p", target=f"{tmp_path}/x/../p/."), PoolStart.BUILD)
    volume = pool.create_volume(volary.VolumeSpec("a", capacity=1))
    assert conn.pool_by_target(tmp_path / "p") == pool
    assert conn.volume(path=tmp_path / "p" / "a") == volume
    with pytest.raises(volary.PoolExists):
        conn.define_pool(PoolSpec("other", target=tmp_path / "p"))


def test_many_disks_have_one_target(conn: volary.Connection, tmp_path: Path) -> None:
    pools = [
        conn.define_pool(
            f"<pool type='disk'><name>{name}</name><source><device path='{tmp_path}/{name}'/>"
            "</source><target><path>/dev</path></target></pool>"
        )
        for name in ("one", "two")
    ]
    assert conn.pool_by_target("/dev") in pools
    with pytest.raises(volary.VolumeNotFound):
        conn.volume(path="/dev/one1")
    pools[0].undefine()
    assert conn.pool_by_target("/dev") == pools[1]
