"""Operations in any order, against a model of what must be so after each of them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.system.crash import crash
from tests.system.half_way import TALKATIVE, paused_half_way
from tests.system.leftovers import names
from tests.system.loop_mount import MIB

import volary
from volary import ASYNC, JobState, PoolSpec, PoolStart, VolumeSpec

LANE = 3
"""Allocations at a time; the next one waits."""

RESTARTS = 5
"""Crashes within a minute after which a pool is left inactive."""

NAMES = st.sampled_from([f"v-{number}" for number in range(6)])
SIZES = st.integers(1, 20 * MIB)
LONG = st.integers(9 * MIB, 20 * MIB)  # more than one extent, so that one can stop in between
PREALLOCATIONS = st.sampled_from(["off", "falloc", "full"])


@dataclass
class Making:
    """A volume that a paused job is making."""

    job: volary.Job[volary.Volume]
    size: int


class Operations(RuleBasedStateMachine):
    """A pool, and beside it what a caller knows: what it was told, and what is on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="volary-"))
        self.images = self.folder / "images"
        self.active = True
        self.account: dict[str, int] = {}
        self.disk: dict[str, int] = {}
        self.making: dict[str, Making] = {}
        self.crashes = 0
        self.conn = self.open()
        self.pool = self.conn.define_pool(PoolSpec("images", target=self.images))
        self.pool.autostart = True
        self.pool.start(PoolStart.BUILD)

    def open(self) -> volary.Connection:
        return volary.open(
            state_dir=self.folder / "state", settings=replace(TALKATIVE, allocators_per_pool=LANE)
        )

    def teardown(self) -> None:
        self.conn.close()
        try:
            assert names(self.images) == sorted(self.disk)
        finally:
            shutil.rmtree(self.folder)

    def expected(self, name: str) -> type[volary.VolaryError] | None:
        """Return what a creation of that name must raise."""
        if not self.active:
            return volary.PoolInactive
        if name in self.making or name in self.account or name in self.disk:
            return volary.VolumeExists
        return None

    def created(self, name: str, size: int) -> None:
        self.account[name] = self.disk[name] = size

    def attempt(self, call: Callable[[], Any], error: type[volary.VolaryError] | None) -> bool:
        """Make the call, which must raise this error if any; return whether it succeeded."""
        if error is None:
            call()
            return True
        with pytest.raises(error):
            call()
        return False

    # Creation, blocking and not.

    @rule(name=NAMES, size=SIZES, preallocation=PREALLOCATIONS)
    def create(
        self, name: str, size: int, preallocation: Literal["off", "falloc", "full"]
    ) -> None:
        if len(self.making) == LANE:
            preallocation = "off"  # any other would wait for its turn
        spec = VolumeSpec(name, capacity=size, preallocation=preallocation)
        if self.attempt(lambda: self.pool.create_volume(spec), self.expected(name)):
            self.created(name, size)

    @rule(wanted=st.dictionaries(NAMES, SIZES, min_size=1))
    def create_at_once(self, wanted: dict[str, int]) -> None:
        if not self.active:
            return
        jobs = {
            name: self.pool.create_volume(VolumeSpec(name, capacity=size), ASYNC)
            for name, size in wanted.items()
        }
        for name, job in jobs.items():
            if self.attempt(partial(job.result, 20), self.expected(name)):
                self.created(name, wanted[name])

    @precondition(lambda self: self.active and len(self.making) < LANE)
    @rule(name=NAMES, size=LONG)
    def begin(self, name: str, size: int) -> None:
        if name in self.making or name in self.account:
            return
        # One whose name a file has that the pool does not know of yet is refused in the end only.
        spec = VolumeSpec(name, capacity=size, preallocation="full")
        self.making[name] = Making(paused_half_way(self.pool, spec), size)

    @precondition(lambda self: self.making)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.making)))
        made = self.making.pop(name)
        made.job.resume()
        taken = volary.VolumeExists if name in self.disk else None
        if self.attempt(lambda: made.job.result(20), taken):
            self.created(name, made.size)

    @precondition(lambda self: self.making)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = self.making.pop(data.draw(st.sampled_from(sorted(self.making)))).job
        assert job.cancel()
        assert job.state is JobState.CANCELLED
        assert job.cancel()

    @precondition(lambda self: self.active and len(self.making) == LANE)
    @rule(name=NAMES, size=SIZES)
    def wait_for_a_turn_and_cancel(self, name: str, size: int) -> None:
        if name in self.making or name in self.account:
            return
        spec = VolumeSpec(name, capacity=size, preallocation="full")
        job = self.pool.create_volume(spec, ASYNC)
        for order, state in (
            (job.pause, JobState.PAUSED),
            (job.resume, JobState.WAITING),
        ):
            order()
            self.pool.info()  # answered after the order was read
            assert job.state is state
        assert job.cancel()

    # Deletion and looking.

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        error: type[volary.VolaryError] | None = None
        if not self.active:
            error = volary.PoolInactive
        elif name in self.making:
            error = volary.VolumeBusy
        elif name not in self.account:
            error = volary.VolumeNotFound
        volume = volary.Volume(self.pool, name)
        if self.attempt(volume.delete, error):
            del self.account[name]
            self.disk.pop(name, None)  # it counts as deleted when somebody did that already

    @precondition(lambda self: self.active)
    @rule(name=NAMES)
    def look(self, name: str) -> None:
        volume = volary.Volume(self.pool, name)
        if name in self.account and name in self.disk:
            self.account[name] = self.disk[name]
            assert volume.info().capacity == self.disk[name]
        else:
            self.account.pop(name, None)
            with pytest.raises(volary.VolumeNotFound):
                volume.info()

    @rule()
    def refresh(self) -> None:
        if self.attempt(self.pool.refresh, None if self.active else volary.PoolInactive):
            self.account = dict(self.disk)

    # What others do in the directory.

    @rule(name=NAMES, size=SIZES)
    def put_a_file(self, name: str, size: int) -> None:
        (self.images / name).touch()
        os.truncate(self.images / name, size)
        self.disk[name] = size

    @precondition(lambda self: self.disk)
    @rule(data=st.data())
    def remove_a_file(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.disk)))
        (self.images / name).unlink()
        del self.disk[name]

    # The pool's and the engine's life.

    @rule()
    def stop(self) -> None:
        error: type[volary.VolaryError] | None = None
        if not self.active:
            error = volary.PoolInactive
        elif self.making:
            error = volary.PoolBusy
        if self.attempt(self.pool.stop, error):
            self.active = False

    @rule()
    def start(self) -> None:
        if self.attempt(self.pool.start, volary.PoolActive if self.active else None):
            self.active = True
            self.account = dict(self.disk)

    @precondition(lambda self: self.active and self.crashes < RESTARTS)
    @rule()
    def crash(self) -> None:
        crash(self.pool)
        self.crashes += 1
        for made in self.making.values():
            assert isinstance(made.job.exception(20), volary.PoolCrashed)
        self.making.clear()
        self.account = dict(self.disk)

    @rule()
    def close_and_open(self) -> None:
        self.conn.close()
        for made in self.making.values():
            assert made.job.cancelled()
        self.making.clear()
        self.crashes = 0
        self.conn = self.open()
        self.pool = self.conn.pool("images")
        self.active = True
        self.account = dict(self.disk)

    # What is always so.

    @invariant()
    def the_pool_says_what_it_was_told(self) -> None:
        assert self.pool.is_active == self.active
        if not self.active:
            with pytest.raises(volary.PoolInactive):
                self.pool.volumes()
            return
        infos = self.pool.volume_infos()
        assert {info.name: info.capacity for info in infos} == self.account
        assert [volume.name for volume in self.pool.volumes()] == sorted(self.account)

    @invariant()
    def the_directory_has_whole_volumes_only(self) -> None:
        there = [name for name in names(self.images) if not name.startswith(".volary-")]
        assert {name: (self.images / name).stat().st_size for name in there} == self.disk

    @invariant()
    def every_job_that_is_not_done_is_one_of_ours(self) -> None:
        undone = [job.volume for job in self.conn.jobs() if not job.done()]
        assert sorted(filter(None, undone)) == sorted(self.making)
        assert all(made.job.state is JobState.PAUSED for made in self.making.values())


TestOperations = Operations.TestCase
TestOperations.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, derandomize=True, database=None
)
