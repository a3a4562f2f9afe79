from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from tests.engine.pool_conflicts import GROUPS, Try

import volary
from volary import PoolSpec, PoolStart
from volary.engine.pool_conflict import Claim, conflict


@pytest.mark.parametrize("tries", GROUPS.values(), ids=GROUPS)
def test_no_two_pools_have_one_source(
    conn: volary.Connection, tmp_path: Path, tries: tuple[Try, ...]
) -> None:
    for number, pool in enumerate(tries):
        document = pool.document(f"p{number}", str(tmp_path))
        if pool.taken:
            with pytest.raises(volary.PoolExists, match=f"pool 'p{number}' cannot have the"):
                conn.define_pool(document)
        else:
            conn.define_pool(document)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (PoolSpec("a", target="/srv"), PoolSpec("b", target="/srv"), "target /srv"),
        (PoolSpec("a", target="/srv"), PoolSpec("b", target="/opt"), None),
        (
            PoolSpec("a", target="/srv"),
            PoolSpec("b", type="vstorage", target="/srv"),
            "target /srv",
        ),
        (
            PoolSpec("a", type="vstorage", target="/srv"),
            PoolSpec("b", type="vstorage", target="/opt", source=volary.PoolSource(name="a")),
            "source",
        ),
        (PoolSpec("a", target="/dev"), PoolSpec("b", type="mpath", target="/dev"), None),
    ],
)
def test_what_two_definitions_share_is_told(
    one: PoolSpec, other: PoolSpec, shared: str | None
) -> None:
    assert conflict(Claim(one, one.target), Claim(other, other.target)) == shared
    assert (conflict(Claim(other, other.target), Claim(one, one.target)) is None) == (
        shared is None
    )


def test_a_file_systems_directory_is_not_a_directory_pools_too(
    conn: volary.Connection, pool: volary.Pool, target: Path
) -> None:
    document = Try("fs", str(target), "<device path='/dev/x'/>", taken=True).document("other", "")
    with pytest.raises(volary.PoolExists, match=f"target {target}: pool 'images'"):
        conn.define_pool(document)


def test_a_pending_definition_keeps_others_out_as_the_current_one_does(
    conn: volary.Connection, tmp_path: Path
) -> None:
    pool = conn.define_pool(PoolSpec("p", target=tmp_path / "a"))
    pool.start(PoolStart.BUILD)
    conn.define_pool(PoolSpec("p", target=tmp_path / "b", uuid=pool.uuid))
    for name in ("a", "b"):
        with pytest.raises(volary.PoolExists, match=f"target {tmp_path / name}"):
            conn.define_pool(PoolSpec("other", target=tmp_path / name))
    conn.define_pool(PoolSpec("p", target=tmp_path / "c", uuid=pool.uuid))
    conn.define_pool(PoolSpec("first", target=tmp_path / "b")).undefine()
    conn.define_pool(PoolSpec("p", target=tmp_path / "b", uuid=pool.uuid))
    pool.stop()
    conn.define_pool(PoolSpec("other", target=tmp_path / "a"))
    with pytest.raises(volary.PoolExists, match=f"target {tmp_path / 'b'}"):
        conn.define_pool(PoolSpec("another", target=tmp_path / "b"))


def test_a_spec_that_is_given_twice_is_dropped_twice(
    conn: volary.Connection, tmp_path: Path
) -> None:
    spec = PoolSpec("p", target=tmp_path / "a", uuid=UUID(int=1))
    for _ in range(2):
        conn.define_pool(spec)
        conn.create_pool(spec, PoolStart.BUILD).stop()
    conn.define_pool(PoolSpec("p", target=tmp_path / "b", uuid=spec.uuid))
    conn.define_pool(PoolSpec("other", target=tmp_path / "a"))


def test_what_a_refused_definition_wanted_is_free(
    conn: volary.Connection, pool: volary.Pool, tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(volary.TargetUnusable):
            conn.create_pool(PoolSpec("other", target=tmp_path / "b"))
        with pytest.raises(volary.PoolActive):
            conn.create_pool(PoolSpec("images", target=tmp_path / "b", uuid=pool.uuid))
    conn.define_pool(PoolSpec("another", target=tmp_path / "b"))
