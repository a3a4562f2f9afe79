"""Each heading of docs/differences/life-cycle.md, shown by libvirtd and Volary side by side."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from operator import methodcaller
from pathlib import Path

import pytest
from tests.conftest import NeedTool
from tests.system.life_cycle_peers import Ours, Peer, Refused, Theirs, outcome
from tests.system.loop_mount import TMPFS, file_system
from tests.system.own_libvirtd import SystemLibvirtd
from tests.system.test_life_cycle_peer import Difference

import volary
from volary import ErrorCode, PoolBuild, PoolStart, PoolState, PoolXml, VolumeResize

MIB = 1 << 20
PAGE = Path(__file__).parents[2] / "docs" / "differences" / "life-cycle.md"
UUID = "33333333-3333-4333-8333-333333333333"


@pytest.fixture
def theirs(system_libvirtd: SystemLibvirtd, tmp_path: Path) -> Iterator[Theirs]:
    (tmp_path / "theirs").mkdir()
    peer = Theirs(system_libvirtd, tmp_path / "theirs")
    yield peer
    for pool in peer.pools(0):
        outcome(peer, methodcaller("stop", pool))
        outcome(peer, methodcaller("undefine", pool))


@pytest.fixture
def ours(conn: volary.Connection, tmp_path: Path) -> Ours:
    (tmp_path / "ours").mkdir()
    return Ours(conn, tmp_path / "ours")


@pytest.fixture
def ask(theirs: Theirs, ours: Ours) -> Callable[[Callable[[Peer], object]], list[object]]:
    """Ask both, and return their answers, or the codes of their refusals."""

    def ask(call: Callable[[Peer], object]) -> list[object]:
        answers = [outcome(peer, call) for peer in (theirs, ours)]
        return [it.code if isinstance(it, Refused) else it for it in answers]

    return ask


Ask = Callable[[Callable[[Peer], object]], list[object]]


def document(peer: Peer, name: str, target: str, *, type_: str = "dir", source: str = "") -> str:
    uuid = UUID if name == "p" else UUID.replace("3", "4")
    return (
        f"<pool type='{type_}'><name>{name}</name><uuid>{uuid}</uuid><source>{source}</source>"
        f"<target><path>{peer.home}/{target}</path></target></pool>"
    )


def volume(name: str, size: int = MIB, format_: str = "raw") -> str:
    return (
        f"<volume><name>{name}</name><capacity>{size}</capacity><allocation>0</allocation>"
        f"<target><format type='{format_}'/></target></volume>"
    )


def define(name: str, target: str) -> Callable[[Peer], None]:
    return lambda it: it.define(document(it, name, target))


def create(name: str, target: str, flags: int = 0) -> Callable[[Peer], None]:
    return lambda it: it.create(document(it, name, target), flags)


@pytest.fixture
def active(ask: Ask) -> Ask:
    """Ask both, who have an active pool "p" on "a"."""
    assert ask(create("p", "a", PoolStart.BUILD)) == [None, None]
    return ask


def test_every_difference_that_a_sequence_can_meet_has_a_heading() -> None:
    headings = re.findall(r"^### (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {difference.value for difference in Difference} <= set(headings)


def test_two_pools_never_have_one_directory(active: Ask) -> None:
    device = "<device path='/dev/nowhere'/>"
    active(lambda it: (it.home / "link").symlink_to("a"))
    for call in (
        lambda it: it.define(document(it, "q", "a", type_="fs", source=device)),
        define("q", "link"),
    ):
        assert active(call) == [None, ErrorCode.OPERATION_FAILED]
        active(methodcaller("undefine", "q"))


def test_a_pending_definition_is_a_claim_too(active: Ask) -> None:
    assert active(define("p", "b")) == [None, None]
    assert active(define("q", "b")) == [None, ErrorCode.OPERATION_FAILED]


def test_contradicting_flags(ask: Ask) -> None:
    # libvirt takes them for BUILD_OVERWRITE, and has no device to format in a directory.
    flags = PoolStart.BUILD_OVERWRITE | PoolStart.BUILD_NO_OVERWRITE
    assert ask(create("p", "a", flags)) == [ErrorCode.OPERATION_INVALID, ErrorCode.INVALID_ARG]


def test_what_cannot_be_meant_is_refused_first(ask: Ask) -> None:
    ask(define("p", "a"))
    assert ask(lambda it: it.create_volume("p", volume("v"), 1)) == [
        ErrorCode.OPERATION_INVALID,
        ErrorCode.CONFIG_UNSUPPORTED,
    ]


def test_a_clone_that_is_too_small_is_refused(active: Ask) -> None:
    active(lambda it: it.create_volume("p", volume("v", 2 * MIB), 0))
    assert active(lambda it: it.clone_volume("p", volume("w"), ("p", "v"))) == [
        None,
        ErrorCode.INVALID_ARG,
    ]


def test_a_volume_is_not_shrunk_to_nothing(active: Ask) -> None:
    active(lambda it: it.create_volume("p", volume("v"), 0))
    less = VolumeResize.DELTA | VolumeResize.SHRINK
    assert active(lambda it: it.resize_volume("p", "v", MIB, less)) == [
        None,
        ErrorCode.INVALID_ARG,
    ]


def test_types_without_a_backend(ask: Ask) -> None:
    mpath = "<pool type='mpath'><name>m</name><target><path>/dev/mapper</path></target></pool>"
    assert ask(lambda it: it.define(mpath)) == [None, None]
    assert ask(lambda it: it.build("m", 0)) == [None, ErrorCode.NO_SUPPORT]
    name = "<name>cluster</name>"
    assert ask(lambda it: it.define(document(it, "p", "a", type_="vstorage", source=name))) == [
        ErrorCode.INTERNAL_ERROR,
        None,
    ]


def test_a_pool_is_found_by_its_target_though_it_is_inactive(ask: Ask) -> None:
    ask(define("p", "a"))
    assert ask(lambda it: it.by_target(f"{it.home}/a")) == [ErrorCode.NO_STORAGE_POOL, "p"]


def test_a_qcow2_volume_can_be_resized_and_allocated(active: Ask) -> None:
    active(lambda it: it.create_volume("p", volume("v", format_="qcow2"), 0))
    assert active(lambda it: it.resize_volume("p", "v", 2 * MIB, VolumeResize.ALLOCATE)) == [
        ErrorCode.OPERATION_UNSUPPORTED,
        None,
    ]


def test_a_volume_is_shrunk_below_its_allocation(active: Ask) -> None:
    active(lambda it: it.create_volume("p", volume("v"), 0))
    active(lambda it: it.resize_volume("p", "v", 3 * MIB, VolumeResize.ALLOCATE))
    assert active(lambda it: it.resize_volume("p", "v", MIB, VolumeResize.SHRINK)) == [
        ErrorCode.INVALID_ARG,
        None,
    ]


def test_a_converted_clone_is_as_large_as_was_asked_for(active: Ask) -> None:
    active(lambda it: it.create_volume("p", volume("v"), 0))
    active(lambda it: it.clone_volume("p", volume("w", 2 * MIB, "qcow2"), ("p", "v")))
    assert active(lambda it: it.capacity("p", "w")) == [MIB, 2 * MIB]


def test_a_refresh_that_fails(active: Ask) -> None:
    active(lambda it: (it.home / "a").rmdir())
    assert active(methodcaller("refresh", "p")) == [ErrorCode.SYSTEM_ERROR] * 2
    assert active(methodcaller("pools", 0)) == [[], ["p"]]


def test_states(active: Ask) -> None:
    active(lambda it: (it.home / "a").rmdir())
    assert active(lambda it: it.info("p")[0]) == [PoolState.RUNNING, PoolState.INACCESSIBLE]


def test_a_pool_that_can_only_be_read_is_degraded(
    conn: volary.Connection, need_root: None, need_tool: NeedTool, tmp_path: Path
) -> None:
    with file_system(TMPFS, tmp_path, need_tool) as where:
        pool = conn.create_pool(volary.PoolSpec("p", target=where))
        pool.create_volume(volary.VolumeSpec("v", capacity=1))
        subprocess.run(["mount", "-o", "remount,ro", where], check=True)
        assert pool.info().state is PoolState.DEGRADED
        pool.refresh()
        assert pool.volume("v").info().capacity == 1
        with pytest.raises(volary.ReadOnly):
            pool.create_volume(volary.VolumeSpec("w", capacity=1))
        pool.stop()


def test_a_redefinition_that_cannot_be_saved(
    ask: Ask, system_libvirtd: SystemLibvirtd, conn: volary.Connection
) -> None:
    ask(define("p", "a"))
    paths = [Path(folder, "p.xml") for folder in (system_libvirtd.storage, conn.state_dir)]
    for path in paths:
        path.unlink()
        path.mkdir()  # no file takes its place
    try:
        assert ask(define("p", "b")) == [ErrorCode.SYSTEM_ERROR] * 2
        assert ask(methodcaller("pools", 0)) == [[], ["p"]]
    finally:
        for path in paths:
            path.rmdir()


def test_what_was_found_is_not_remembered(ask: Ask) -> None:
    ask(define("p", "a"))
    before = ask(lambda it: it.xml("p", 0))
    ask(lambda it: it.start("p", PoolStart.BUILD))
    for flags in (PoolXml.INACTIVE, PoolXml.NONE):
        after = ask(lambda it, flags=flags: it.xml("p", flags))  # type: ignore[misc]
        assert [old == new for old, new in zip(before, after, strict=True)] == [False, True]
        ask(methodcaller("stop", "p"))


def test_a_refused_build_makes_nothing(ask: Ask) -> None:
    ask(define("p", "a"))
    assert ask(lambda it: it.build("p", PoolBuild.OVERWRITE)) == [ErrorCode.OPERATION_INVALID] * 2
    assert ask(lambda it: (it.home / "a").exists()) == [True, False]


def test_a_name_that_is_taken_has_one_code(active: Ask) -> None:
    active(lambda it: it.create_volume("p", volume("v"), 0))
    active(lambda it: (it.home / "a" / "unknown").touch())
    taken = ErrorCode.STORAGE_VOL_EXIST
    assert active(lambda it: it.create_volume("p", volume("v"), 0)) == [taken, taken]
    assert active(lambda it: it.clone_volume("p", volume("v"), ("p", "v"))) == [
        ErrorCode.INTERNAL_ERROR,
        taken,
    ]
    assert active(lambda it: it.create_volume("p", volume("unknown"), 0)) == [
        ErrorCode.OPERATION_INVALID,
        taken,
    ]


def test_a_new_volume_is_described_as_it_is(active: Ask) -> None:
    active(lambda it: it.create_volume("p", volume("v", format_="qcow2"), 0))

    def has_cluster_size(it: Peer) -> bool:
        return "<clusterSize" in it.volume_xml("p", "v")

    assert active(has_cluster_size) == [False, True]
    active(methodcaller("refresh", "p"))
    assert active(has_cluster_size) == [True, True]


def test_a_resize_allocates_what_is_new(active: Ask) -> None:
    active(lambda it: it.create_volume("p", volume("v"), 0))
    active(lambda it: it.resize_volume("p", "v", 2 * MIB, VolumeResize.ALLOCATE))
    assert active(lambda it: os.stat(it.home / "a" / "v").st_blocks * 512) == [2 * MIB, MIB]
