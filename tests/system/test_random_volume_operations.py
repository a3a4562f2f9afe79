"""Everything that is done to volumes, in two pools, at once and in any order, each of it cancelled
at any moment: what the engine says is always what is on disk.

`VOLARY_RANDOM_EXAMPLES=2000 pytest -s tests/system/test_random_volume_operations.py` runs long,
and other examples each time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from concurrent.futures import wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)
from tests.system.crash import crash
from tests.system.deadline import wait_until
from tests.system.half_way import TALKATIVE, paused_after
from tests.system.host_image import qcow2_image
from tests.system.leftovers import names
from tests.system.small_extents import EXTENT, small_extents
from tests.system.volume_model import Disk, Key, pattern
from tests.system.volume_operations import (
    Clone,
    Create,
    Delete,
    Download,
    Operation,
    Refresh,
    Resize,
    Upload,
    Wipe,
)

import volary
from volary import (
    JobState,
    PoolSpec,
    PoolStart,
    Settings,
    VolumeDelete,
    VolumeResize,
    WipeAlgorithm,
)
from volary.engine.volume_spec import Preallocation

POOLS = ("one", "two")
MOST_AT_ONCE = 6
NUMBERS = st.integers(0, MOST_AT_ONCE - 1)
RESTARTS = 4
"""Crashes after which a pool would be left inactive."""

KEY_LIST = [Key(pool, name) for pool in POOLS for name in ("a", "b", "c", "d")]
KEYS = st.sampled_from(KEY_LIST)
SIZES = st.builds(
    lambda extents, more: extents * EXTENT + more,
    st.integers(0, 11),
    st.sampled_from([EXTENT, 1, 511, 4096, 4097, 33000]),
)
SEEDS = st.integers(0, 1 << 30)
CANCEL_AT_ONCE = 0
HOW = st.one_of(st.none(), st.just(CANCEL_AT_ONCE), st.integers(1, 6), st.integers(1, 6))
"""None lets a job run; a number pauses it after so many words of its progress."""

AIMED = st.sampled_from([True] * 9 + [False])
"""Whether a volume is named that is there, or a name that is free; else any."""

PIECES = st.lists(
    st.tuples(st.booleans(), SIZES.map(lambda size: -(-size // 3)), SEEDS), max_size=5
)


@dataclass
class Begun:
    """An operation whose outcome nobody has looked at yet."""

    work: Operation
    job: volary.Job[Any]

    @property
    def is_paused(self) -> bool:
        return not self.job.done() and self.job.state is JobState.PAUSED


def not_paused(begun: Begun) -> bool:
    return not begun.is_paused


class VolumeOperations(RuleBasedStateMachine):
    """Two pools, what is under way in them, and what must be on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.undo = ExitStack()
        self.undo.enter_context(small_extents())
        folder = Path(tempfile.mkdtemp(prefix="volary-"))
        self.undo.callback(shutil.rmtree, folder)
        self.disk = Disk(folder, POOLS)
        self.template = qcow2_image(folder)
        self.begun: list[Begun] = []
        self.crashes = dict.fromkeys(POOLS, 0)
        self.conn = self.open()
        self.pools = {
            name: self.conn.define_pool(PoolSpec(name, target=self.disk.targets[name]))
            for name in POOLS
        }
        for pool in self.pools.values():
            pool.autostart = True
            pool.start(PoolStart.BUILD)

    def open(self) -> volary.Connection:
        settings: Settings = replace(
            TALKATIVE, allocators_per_pool=32, deletions_per_pool=32, finished_jobs_per_pool=1000
        )
        return volary.open(state_dir=self.disk.folder / "state", settings=settings)

    def teardown(self) -> None:
        with self.undo:
            try:
                self.rest()
            finally:
                self.conn.close()

    # How an operation is begun, and how it ends.

    def in_the_way(self, work: Operation) -> list[Begun]:
        """Return what must keep `work` from being done now."""
        return [
            other
            for other in self.begun
            if (work.writes is not None and work.writes in (other.work.writes, *other.work.reads))
            or (other.work.writes is not None and other.work.writes in work.reads)
        ]

    def is_free(self, key: Key) -> bool:
        """Say whether nobody reads or writes the volume."""
        return not self.in_the_way(Delete(self.disk, self.pools, key, VolumeDelete.NONE))

    def do(self, work: Operation, how: int | None) -> None:
        """Do it, or have it refused."""
        if len(self.begun) == MOST_AT_ONCE:
            self.cancel_now(self.begun[0].job)
            self.settle(self.begun[0])
        for other in self.in_the_way(work):
            if other.work.writes is not None and not other.is_paused:
                self.settle(other)  # for what it leaves is what `work` finds
        if not work.is_foreseen():
            return
        others = self.in_the_way(work)
        if any(other.is_paused for other in others):
            self.is_busy(work)
        elif refusals := work.refusals():
            if others:
                refusals = (*refusals, volary.VolumeBusy)
            error = work.begin().exception(20)
            assert isinstance(error, refusals), f"{error!r}, not {refusals}: {work!r}"
        elif others:
            self.race(work)
        else:
            work.remember()
            self.begin(work, how)

    def is_busy(self, work: Operation) -> None:
        """Check that `work` is refused at once, for what a paused job holds."""
        error = work.begin().exception(20)
        if isinstance(work, Wipe | Upload | Delete) and work.key in self.disk.images:
            assert isinstance(error, volary.VolumeBusy)
        else:
            busy = (volary.VolumeBusy, volary.VolumeExists, volary.VolumeNotFound)
            assert isinstance(error, busy + work.refusals()), repr(error)

    def race(self, work: Operation) -> None:
        """Begin to write what others read: they end before it begins, or it is refused."""
        work.remember()
        begun = Begun(work, work.begin())
        wait([begun.job], 20)
        if not isinstance(begun.job.exception(), volary.VolumeBusy):
            self.begun.append(begun)
            self.settle(begun)

    def begin(self, work: Operation, how: int | None) -> None:
        if how is None:
            job = work.begin()
        elif how == CANCEL_AT_ONCE:
            job = work.begin()
            self.cancel_now(job)
        elif isinstance(work, Delete | Refresh):  # they tell nobody how far they are
            job = work.begin()
            job.pause()
            wait_until(lambda: job.done() or job.state is JobState.PAUSED, "it is paused")
        else:
            job = paused_after(work.pool, work.begin, how)
        self.begun.append(Begun(work, job))
        if how == CANCEL_AT_ONCE:
            self.settle(self.begun[-1])

    def cancel_now(self, job: volary.Job[Any]) -> None:
        cancelled = job.cancel()
        assert job.done()
        assert cancelled == (job.state is JobState.CANCELLED)
        assert job.cancel() == cancelled

    def settle(self, begun: Begun, *, crashed: bool = False, closed: bool = False) -> None:
        """Wait for its end, and take note of what it left."""
        self.begun.remove(begun)
        work, job = begun.work, begun.job
        assert not wait([job], 20).not_done, f"{job!r} does not end"
        if job.cancelled():
            work.stopped(job)
            return
        error = job.exception()
        if error is None:
            assert not work.mishaps, f"{job!r}: not {work.mishaps}"
            work.succeeded(job.result())
            return
        expected = work.mishaps
        if crashed:
            expected = (*expected, volary.PoolCrashed)
        if closed:  # before it could open what it reads
            expected = (*expected, volary.ConnectionClosed)
        assert isinstance(error, expected), f"{job!r}: {error!r}"
        work.stopped(job)

    # Which volumes.

    def there(self, key: Key, aimed: bool = True) -> Key:
        """Return a volume that is there, or is going to be."""
        held = [work.writes for work in (begun.work for begun in self.begun)]
        known = sorted({*self.disk.images, *(key for key in held if key is not None)})
        if not aimed or key in known or not known:
            return key
        return known[KEY_LIST.index(key) % len(known)]

    def free(self, key: Key, aimed: bool) -> Key:
        """Return a name that no volume has."""
        free = [other for other in KEY_LIST if other not in self.disk.images]
        if not aimed or key in free or not free:
            return key
        return free[KEY_LIST.index(key) % len(free)]

    # What is done.

    @initialize(seeds=st.lists(st.tuples(KEYS, SIZES, SEEDS), min_size=3, max_size=6))
    def begin_with_some(self, seeds: list[tuple[Key, int, int]]) -> None:
        for key, size, seed in seeds:
            if key not in self.disk.images:
                self.do(Create(self.disk, self.pools, key, size=size), None)
                self.settle(self.begun[-1])
                self.write_as_guest(key, 0, pattern(seed, size))

    @rule(
        key=KEYS,
        aimed=AIMED,
        size=SIZES,
        format_=st.sampled_from(["raw", "raw", "raw", "qcow2"]),
        preallocation=st.sampled_from(["off", "falloc", "full", "metadata"]),
        how=HOW,
    )
    def create(
        self,
        *,
        key: Key,
        aimed: bool,
        size: int,
        format_: str,
        preallocation: Preallocation,
        how: int | None,
    ) -> None:
        key = self.free(key, aimed)
        self.do(
            Create(
                self.disk, self.pools, key, size=size, format_=format_, preallocation=preallocation
            ),
            how,
        )

    @rule(key=KEYS, aimed=AIMED, backing=KEYS, how=HOW)
    def create_an_overlay(self, key: Key, aimed: bool, backing: Key, how: int | None) -> None:
        key, backing = self.free(key, aimed), self.there(backing, aimed)
        if key != backing:
            self.do(Create(self.disk, self.pools, key, backing=backing), how)

    @rule(
        key=KEYS,
        aimed=AIMED,
        source=KEYS,
        format_=st.sampled_from(["raw"] * 7 + ["qcow2"]),
        more=st.sampled_from([0, 0, 0, 0, 1, 512, 2 * EXTENT, -EXTENT]),
        how=HOW,
    )
    def clone(
        self, *, key: Key, aimed: bool, source: Key, format_: str, more: int, how: int | None
    ) -> None:
        key, source = self.free(key, aimed), self.there(source, aimed)
        self.do(Clone(self.disk, self.pools, key, source=source, format_=format_, more=more), how)

    @rule(
        key=KEYS,
        aimed=AIMED,
        size=SIZES,
        flags=st.sampled_from(
            [
                VolumeResize.NONE,
                VolumeResize.SHRINK,
                VolumeResize.ALLOCATE,
                VolumeResize.ALLOCATE | VolumeResize.SHRINK,
            ]
        ),
        how=HOW,
    )
    def resize(
        self, key: Key, aimed: bool, size: int, flags: VolumeResize, how: int | None
    ) -> None:
        key = self.there(key, aimed)
        self.do(Resize(self.disk, self.pools, key, size, flags), how)

    @rule(
        key=KEYS,
        aimed=AIMED,
        algorithm=st.sampled_from(
            [
                WipeAlgorithm.ZERO,
                WipeAlgorithm.ZERO,
                WipeAlgorithm.TRIM,
                WipeAlgorithm.RANDOM,
                WipeAlgorithm.DOD,
            ]
        ),
        how=HOW,
    )
    def wipe(self, key: Key, aimed: bool, algorithm: WipeAlgorithm, how: int | None) -> None:
        key = self.there(key, aimed)
        self.do(Wipe(self.disk, self.pools, key, algorithm), how)

    @rule(
        key=KEYS,
        aimed=AIMED,
        drawn=PIECES,
        fits=st.sampled_from([True, True, True, False]),
        offset=st.one_of(st.just(0), SIZES),
        length_is_off_by=st.sampled_from([None, None, None, 0, 0, 1, -1]),
        as_file=st.booleans(),
        breaks=st.booleans(),
        how=HOW,
    )
    def upload(
        self,
        *,
        key: Key,
        aimed: bool,
        drawn: list[tuple[bool, int, int]],
        fits: bool,
        offset: int,
        length_is_off_by: int | None,
        as_file: bool,
        breaks: bool,
        how: int | None,
    ) -> None:
        key = self.there(key, aimed)
        image = self.disk.images.get(key)
        room = None
        if image is not None and image.format == "qcow2":
            if 0 < offset < EXTENT:
                offset += EXTENT  # it leaves the header whole, or nothing of it
        elif image is not None and fits:
            offset %= image.capacity
            room = image.capacity - offset
        pieces: list[bytes | volary.Hole] = []
        for hole, wanted, seed in drawn:
            # A file's holes are of whole blocks.
            size = -(-wanted // 4096) * 4096 if as_file else wanted
            if room is not None:
                size = min(size, room)
                room -= size
            pieces.append(volary.Hole(size) if hole else pattern(seed, size))
        self.do(
            Upload(
                self.disk,
                self.pools,
                key,
                pieces,
                offset=offset,
                length_is_off_by=length_is_off_by,
                as_file=as_file,
                breaks=breaks,
            ),
            how,
        )

    @rule(key=KEYS, aimed=AIMED, as_file=st.booleans(), how=HOW)
    def upload_a_qcow2(self, key: Key, aimed: bool, as_file: bool, how: int | None) -> None:
        key = self.there(key, aimed)
        work = Upload(self.disk, self.pools, key, [self.template], as_file=as_file, template=True)
        self.do(work, how)

    @rule(
        key=KEYS,
        aimed=AIMED,
        offset=st.one_of(st.just(0), SIZES),
        breaks_after=st.one_of(st.none(), SIZES),
        how=HOW,
    )
    def download(
        self, key: Key, aimed: bool, offset: int, breaks_after: int | None, how: int | None
    ) -> None:
        key = self.there(key, aimed)
        self.do(Download(self.disk, self.pools, key, offset, breaks_after), how)

    @rule(key=KEYS, chunks=st.integers(0, 3), sparse=st.booleans())
    def read_a_stream_and_leave_it(self, key: Key, chunks: int, sparse: bool) -> None:
        key = self.there(key)
        work = Download(self.disk, self.pools, key, 0, None)
        if self.in_the_way(work) or key not in self.disk.images:
            return
        expected = self.disk.file(key)
        at = 0
        with work.volume.stream(sparse=True) if sparse else work.volume.stream() as stream:
            for _, chunk in zip(range(chunks), stream, strict=False):
                data = bytes(chunk.length) if isinstance(chunk, volary.Hole) else chunk
                assert expected[at : at + len(data)] == data
                at += len(data)
            if not stream.job.done():
                with suppress(volary.VolumeBusy):  # at once, unless all of it was in the pipe
                    self.upload_nothing(key)
        assert stream.job.done()
        if self.is_free(key):
            self.upload_nothing(key)  # nobody holds it any more

    def upload_nothing(self, key: Key) -> None:
        """Write to a volume without a change to what is in it: of a raw one it is noted that it
        is raw.
        """
        volary.Volume(self.pools[key.pool], key.name).upload([])
        image = self.disk.images[key]
        image.marked = image.format == "raw"

    @rule(
        key=KEYS,
        aimed=AIMED,
        flags=st.sampled_from([VolumeDelete.NONE, VolumeDelete.ZEROED]),
        how=HOW,
    )
    def delete(self, key: Key, aimed: bool, flags: VolumeDelete, how: int | None) -> None:
        key = self.there(key, aimed)
        self.do(Delete(self.disk, self.pools, key, flags), how)

    @rule(key=KEYS, how=HOW)
    def refresh(self, key: Key, how: int | None) -> None:
        self.do(Refresh(self.disk, self.pools, key), how)

    # What becomes of what was begun.

    # Which one is drawn as a number: what there is to draw from depends on who was faster.

    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        for begun in self.begun[number : number + 1]:
            self.cancel_now(begun.job)
            self.settle(begun)

    @rule(number=NUMBERS)
    def wait_for(self, number: int) -> None:
        for begun in self.begun[number : number + 1]:
            self.let_end(begun)

    @rule(number=NUMBERS)
    def resume(self, number: int) -> None:
        for begun in self.begun[number : number + 1]:
            if begun.is_paused:
                begun.job.resume()
                begun.work.pool.info()  # answered after the order was passed on
                wait_until(partial(not_paused, begun), "it is resumed")

    def let_end(self, begun: Begun) -> None:
        if begun.is_paused:
            begun.job.resume()
        self.settle(begun)

    @rule()
    def rest(self) -> None:
        """Let everything end, and compare everything."""
        for begun in list(self.begun):
            if begun.is_paused:
                begun.job.resume()
        for begun in list(self.begun):
            self.settle(begun)
        assert all(job.done() for job in self.conn.jobs())
        for key in self.disk.images:
            self.disk.check(key)
            self.upload_nothing(key)  # nobody holds it
        for name, pool in self.pools.items():
            assert names(self.disk.targets[name]) == sorted(self.names_in(name))
            self.compare_with_disk(pool)

    def names_in(self, pool: str) -> set[str]:
        return {key.name for key in self.disk.images if key.pool == pool}

    def compare_with_disk(self, pool: volary.Pool) -> None:
        """Compare every figure, when nothing is left that the file system writes later."""
        for name in self.names_in(pool.name):
            with self.disk.path(Key(pool.name, name)).open() as file:
                os.fsync(file.fileno())
        pool.refresh()
        for info in pool.volume_infos():
            stat = self.disk.path(Key(pool.name, info.name)).stat()
            assert info.allocation == stat.st_blocks * 512
            assert info.physical == stat.st_size
            assert info.modified == stat.st_mtime_ns
            assert pool.volume(info.name).info() == info

    # What others do.

    @rule(key=KEYS, size=SIZES, seed=SEEDS, template=st.booleans())
    def put_a_file(self, key: Key, size: int, seed: int, template: bool) -> None:
        """Somebody puts a file there, in the place of one of another size."""
        if not self.is_free(key):
            return
        data = self.template if template else pattern(seed, size)
        path = self.disk.path(key)
        if key in self.disk.images:
            if path.stat().st_size == len(data):
                data += b"more"
            path.unlink()
        path.write_bytes(data)
        self.pools[key.pool].refresh()
        self.disk.images.pop(key, None)
        self.disk.recognise(key)
        image = self.disk.images[key]
        if image.format == "qcow2":
            image.data, image.sound = bytes(image.capacity), True

    @rule(key=KEYS)
    def remove_a_file(self, key: Key) -> None:
        if key in self.disk.images and self.is_free(key):
            self.disk.path(key).unlink()
            del self.disk.images[key]
            self.pools[key.pool].refresh()

    @rule(key=KEYS, at=SIZES, seed=SEEDS, header=st.booleans())
    def guest_writes(self, key: Key, at: int, seed: int, header: bool) -> None:
        """A guest writes to its raw disk, a header of another format too."""
        key = self.there(key)
        image = self.disk.images.get(key)
        if image is None or not image.marked or image.data is None or not self.is_free(key):
            return
        if header and self.disk.is_marked(key):
            self.write_as_guest(key, 0, self.template)
        else:
            self.write_as_guest(key, at % len(image.data), pattern(seed, 2 * EXTENT))

    def write_as_guest(self, key: Key, at: int, data: bytes) -> None:
        image = self.disk.images[key]
        assert image.data is not None
        data = data[: image.capacity - at]
        with self.disk.path(key).open("r+b") as file:
            file.seek(at)
            file.write(data)
        image.data = image.data[:at] + data + image.data[at + len(data) :]

    # The pools' and the engine's life.

    @rule(name=st.sampled_from(POOLS))
    def stop_and_start(self, name: str) -> None:
        pool = self.pools[name]
        for begun in list(self.begun):
            if not begun.is_paused:
                self.settle(begun)
        if any(
            name in (begun.work.key.pool, *(key.pool for key in begun.work.reads))
            for begun in self.begun
        ):
            with pytest.raises(volary.PoolBusy):
                pool.stop()
            return
        pool.stop()
        pool.start()
        self.look_again(name)

    def look_again(self, name: str) -> None:
        """What no pool has made raw is what its header says, to a pool that knows nothing yet."""
        for key, image in list(self.disk.images.items()):
            if key.pool == name and image.format == "raw" and not image.marked:
                self.disk.recognise(key)

    @rule()
    def close_and_open(self) -> None:
        self.conn.close()
        for begun in list(self.begun):
            assert begun.job.done()
            self.settle(begun, closed=True)
        self.crashes = dict.fromkeys(POOLS, 0)
        self.conn = self.open()
        for name in POOLS:
            self.pools[name] = self.conn.pool(name)
            self.look_again(name)

    @rule(name=st.sampled_from(POOLS))
    def crash_a_pool(self, name: str) -> None:
        """A pool meets a defect, and nothing of the other one does."""
        if self.crashes[name] == RESTARTS:
            return
        self.crashes[name] += 1
        crash(self.pools[name])
        for begun in list(self.begun):
            if begun.work.key.pool == name:
                self.settle(begun, crashed=True)

    # What is always so.

    def uncertain(self) -> set[Key | None]:
        """Return the volumes of which only their jobs know what they are now. What a paused job
        writes is what it was, and what it makes is nowhere.
        """
        return {begun.work.writes for begun in self.begun if not begun.is_paused}

    @invariant()
    def the_account_is_what_must_be(self) -> None:
        written = self.uncertain()
        for name, pool in self.pools.items():
            account = {info.name: (info.capacity, info.format) for info in pool.volume_infos()}
            must = {
                key.name: (image.capacity, image.format)
                for key, image in self.disk.images.items()
                if key.pool == name
            }
            for key in written:
                if key is not None and key.pool == name:
                    account.pop(key.name, None)
                    must.pop(key.name, None)
            assert account == must

    @invariant()
    def the_directories_have_whole_volumes_only(self) -> None:
        written = self.uncertain()
        for name, target in self.disk.targets.items():
            there = {file for file in names(target) if Key(name, file) not in written}
            assert there == {
                file for file in self.names_in(name) if Key(name, file) not in written
            }


EXAMPLES = os.environ.get("VOLARY_RANDOM_EXAMPLES")

TestVolumeOperations = VolumeOperations.TestCase
TestVolumeOperations.settings = settings(
    max_examples=int(EXAMPLES or 30),
    stateful_step_count=50,
    deadline=None,
    derandomize=EXAMPLES is None,
    database=None,
    # An example has hundreds of choices: it is read rather than made smaller for many minutes.
    phases=[Phase.generate],
)
pytestmark = pytest.mark.timeout(180 if EXAMPLES is None else 0)
