"""Pool definitions that are saved at the same time, and those with uncommon names."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier, Thread

import pytest
from tests.system.leftovers import names

import volary


def reopened(state: Path) -> dict[str, str]:
    """Return name and target of every pool that a new engine finds."""
    with volary.open(state_dir=state) as conn:
        return {pool.name: pool.target for pool in conn.pools()}


@pytest.mark.parametrize(
    "name", ["p", "x" * 251, "\N{GRINNING FACE}" * 62, "a b&<c>'\"", "-", "ü"]
)
def test_a_pool_of_any_valid_name_comes_back(tmp_path: Path, name: str) -> None:
    state, target = tmp_path / "state", str(tmp_path / "target")
    with volary.open(state_dir=state) as conn:
        conn.define_pool(volary.PoolSpec(name, target=target))
    assert reopened(state) == {name: target}


def test_pools_whose_long_names_begin_alike_can_be_defined_at_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    specs = [
        volary.PoolSpec("x" * 220 + str(number), target=tmp_path / f"target-{number}")
        for number in range(40)
    ]
    together = Barrier(4)

    def define(mine: list[volary.PoolSpec]) -> None:
        for spec in mine:
            together.wait(10)
            conn.define_pool(spec)

    with volary.open(state_dir=state) as conn:
        threads = [Thread(target=define, args=(specs[part::4],)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert reopened(state) == {spec.name: spec.target for spec in specs}


def test_no_temporary_file_stays_in_the_state_directory(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with volary.open(state_dir=state) as conn:
        pool = conn.define_pool(volary.PoolSpec("p", target=tmp_path / "target"))
        pool.autostart = True
        assert names(state) == [".volary.lock", "autostart", "p.xml"]
        pool.undefine()
        assert names(state) == [".volary.lock", "autostart"]
        assert names(state / "autostart") == []
