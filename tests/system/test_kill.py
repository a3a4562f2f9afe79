"""kill -9 at any moment, and what the next engine finds."""

from __future__ import annotations

import logging
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.system import allocating_process, defining_process
from tests.system.leftovers import free_space, names, wait_for_space
from tests.system.loop_mount import EXT4, MIB, NTFS, VFAT, NeedTool, file_system, kernel_has

import volary

SEEDS = range(6)


@contextmanager
def process(program: str | None, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Have a program run that has said "begun"; kill it at the end."""
    assert program is not None
    with subprocess.Popen(
        [sys.executable, program, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "begun\n"
            yield child
        finally:
            child.kill()


def kill_at_some_moment(child: subprocess.Popen[str], seed: int, longest: float) -> None:
    # Not a wait for something: the moment is what is being tried.
    time.sleep(random.Random(seed).uniform(0, longest))
    child.send_signal(signal.SIGKILL)
    child.wait(10)


@pytest.fixture(
    scope="module",
    params=[kind for kind in (EXT4, NTFS, VFAT) if kernel_has(kind)],
    ids=lambda kind: kind.name,
)
def mount(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    need_root: None,
    need_tool: NeedTool,
) -> Iterator[Path]:
    """A file system with unnamed files, and those that must make do with hidden names."""
    folder = tmp_path_factory.mktemp("kill")
    with file_system(request.param, folder, need_tool) as where:
        yield where


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_allocation_is_nowhere_at_the_next_start(
    mount: Path, tmp_path: Path, seed: int
) -> None:
    state, target = tmp_path / "state", mount / f"images-{seed}"
    target.mkdir()
    before = free_space(mount)
    with process(allocating_process.__file__, state, target, 128 * MIB) as child:
        # From its first bytes to about its last ones.
        kill_at_some_moment(child, seed, 0.15)
        assert child.stdout is not None
        returned = child.stdout.read() == "created\n"
    with volary.open(state_dir=state) as conn:
        pool = conn.pool("images")
        found = pool.volume_infos()
        if returned or found:  # a disk so fast that it was done: then it is whole
            assert names(target) == ["a.raw"]
            assert [info.capacity for info in found] == [128 * MIB]
            assert found[0].allocation >= 128 * MIB
            pool.volume("a.raw").delete()
        assert names(target) == []
        wait_for_space(mount, before)


def test_the_pool_of_a_killed_process_is_active_again(tmp_path: Path) -> None:
    state, target = tmp_path / "state", tmp_path / "images"
    with process(allocating_process.__file__, state, target, 64 * MIB) as child:
        child.kill()
        child.wait(10)
    with volary.open(state_dir=state) as conn:
        pool = conn.pool("images")
        assert (pool.is_active, pool.is_persistent, pool.autostart) == (True, True, True)
        pool.create_volume(volary.VolumeSpec("b.raw", capacity=1))


def test_the_state_directory_of_a_killed_process_is_free(tmp_path: Path) -> None:
    state, target = tmp_path / "state", tmp_path / "images"
    with process(allocating_process.__file__, state, target, 64 * MIB) as child:
        with pytest.raises(volary.StateDirectoryBusy, match=f"process {child.pid} "):
            volary.open(state_dir=state)
        child.kill()
        child.wait(10)
        volary.open(state_dir=state).close()


def test_a_definition_of_a_killed_process_is_whole_or_absent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state, targets = tmp_path / "state", str(tmp_path / "targets")
    for seed in SEEDS:
        with process(defining_process.__file__, state, targets) as child:
            kill_at_some_moment(child, seed, 0.1)
        # Autostart fails, there being no target, and keeps nobody out; a torn definition would be
        # passed over, with a line in the log that says so.
        with caplog.at_level(logging.ERROR, "volary"), volary.open(state_dir=state) as conn:
            for pool in conn.pools():
                wanted = defining_process.spec(targets, pool.name)
                assert (pool.uuid, pool.target) == (wanted.uuid, wanted.target)
                assert "<mode>0750</mode>" in pool.xml()
    assert caplog.messages == []
