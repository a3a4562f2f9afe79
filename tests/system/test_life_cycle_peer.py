"""The life of two pools, in any order of calls, as libvirtd has it: the same calls are given to a
libvirtd of the tests' own and to Volary, with the same success, the same error code, the same
lists and the same documents after each of them.

`VOLARY_RANDOM_EXAMPLES=2000 pytest -s tests/system/test_life_cycle_peer.py` runs long, and other
examples each time. Where Volary means to differ, a rule names the difference, with the heading
that it has in docs/differences/life-cycle.md.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from operator import methodcaller
from pathlib import Path
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.system.life_cycle_peers import Ours, Peer, Refused, Theirs, outcome, plain
from tests.system.own_libvirtd import SystemLibvirtd

import volary
from volary import ErrorCode, PoolBuild, PoolList, PoolStart, PoolXml, VolumeResize

_ALLOCATION = re.compile("  <allocation .*\n")
NAMES = ("one", "two")
UUIDS = {name: f"11111111-1111-4111-8111-11111111111{n}" for n, name in enumerate(NAMES)}
OTHER_UUID = "22222222-2222-4222-8222-222222222222"
MIB = 1 << 20


class Difference(Enum):
    """The headings of docs/differences/life-cycle.md that a sequence of calls can meet."""

    ONE_DIRECTORY = "Two pools never have one directory"
    PENDING = "A pending definition is a claim, too"
    NOTHING_BUILT = "A refused build makes nothing"
    FOUND = "What was found is not remembered"
    NO_BACKEND = "Types without a backend"
    ARGUMENTS_FIRST = "What cannot be meant is refused first"
    TAKEN = "A name that is taken has one code"
    NEW_VOLUME = "A new volume is described as it is"
    WHAT_IS_NEW = "A resize allocates what is new"
    SMALLER_CLONE = "A clone that is too small is refused"
    ALLOCATED_QCOW2 = "A qcow2 volume can be resized and allocated"
    TO_NOTHING = "A volume is not shrunk to nothing"
    LARGER_CLONE = "A converted clone is as large as was asked for"
    BELOW_ALLOCATION = "A volume is shrunk below its allocation"
    BY_TARGET = "A pool is found by its target though it is inactive"


@dataclass(frozen=True, repr=False)
class What:
    """What a pool is made of.

    sources: what libvirt takes for the same source.
    directory: the directory that its files would be in.
    """

    type: str
    target: str = ""
    source: str = ""
    sources: frozenset[str] = frozenset()
    directory: str = ""
    mode: str = ""

    def __repr__(self) -> str:
        return f"{self.type} {self.target} {self.mode}"

    def document(self, name: str, uuid: str, home: Path) -> str:
        path = f"<path>{self.target.format(home=home)}</path>" if self.target else ""
        mode = f"<permissions><mode>{self.mode}</mode></permissions>" if self.mode else ""
        return (
            f"<pool type='{self.type}'><name>{name}</name><uuid>{uuid}</uuid>"
            f"<source>{self.source.format(home=home)}</source>"
            f"<target>{path}{mode}</target></pool>"
        )

    def place(self, peer: Peer) -> Path:
        return Path(self.target.format(home=peer.home))


def directory(name: str, mode: str = "") -> What:
    at = f"{{home}}/{name}"
    return What("dir", at, sources=frozenset({f"dir {at}"}), directory=at, mode=mode)


def other(type_: str, target: str, source: str, *sources: str, directory: str = "") -> What:
    return What(type_, target, source, frozenset(sources), directory)


DIRECTORIES = [directory("a"), directory("b"), directory("a", "0750"), directory("deep/c")]
_DISK = "<device path='{home}/disk%d'/>"
_HOST = "<host name='peer.invalid'/>"
OTHERS = [
    other("fs", "{home}/a", _DISK % 1, "disk 1", directory="{home}/a"),
    other("fs", "{home}/mounted", _DISK % 1, "disk 1", directory="{home}/mounted"),
    other("disk", "/dev", _DISK % 2, "disk 2"),
    other("disk", "/dev", _DISK % 1, "disk 1"),
    other("logical", "/dev/vg", "<name>vg</name>" + _DISK % 1, "disk 1"),
    other("netfs", "{home}/n", _HOST + "<dir path='/x'/>", "x", directory="{home}/n"),
    other("iscsi", "/dev/disk/by-path", _HOST + "<device path='iqn.a'/>", "iqn.a"),
    other("scsi", "/dev/disk/by-path", "<adapter name='host7'/>", "host7"),
    other("mpath", "/dev/mapper", "", "mpath"),
    other("rbd", "", _HOST + "<name>r</name>"),
    other("gluster", "", _HOST + "<name>v</name>", "v"),
    other("zfs", "/dev/zvol/z", "<name>z</name>" + _DISK % 2, "disk 2"),
]

Codes = dict[tuple[int, int], Difference]
"""For which difference libvirt's error code, and ours, may be these."""

ARGUMENTS_FIRST: Codes = {
    (theirs, ErrorCode.CONFIG_UNSUPPORTED): Difference.ARGUMENTS_FIRST
    for theirs in (ErrorCode.OPERATION_INVALID, ErrorCode.STORAGE_VOL_EXIST)
}
TAKEN: Codes = {
    (theirs, ErrorCode.STORAGE_VOL_EXIST): Difference.TAKEN
    for theirs in (ErrorCode.INTERNAL_ERROR, ErrorCode.OPERATION_INVALID)
}

ANY_NAME = st.sampled_from(NAMES)
ANY_UUID = st.sampled_from(["own"] * 8 + ["other's", "unknown"])
WHAT = st.one_of(st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES + OTHERS))
AIMED = st.sampled_from([True] * 5 + [False])
STATES = st.sampled_from(["active", "active", "transient", "defined", ""])
VOLUMES = st.sampled_from(["v", "w"])
LISTS = st.builds(
    lambda *flags: sum(set(flags)),
    *[st.sampled_from([0, *(1 << bit for bit in range(20))])] * 3,
)
BUILD_FLAGS = st.sampled_from([0, 0, 0, *map(int, PoolBuild)])
START_FLAGS = st.sampled_from([0, 0, 0, 1, 1, *map(int, PoolStart)])
FORMATS = st.sampled_from(["raw", "raw", "qcow2"])
CREATE_FLAGS = st.sampled_from([0, 0, 1])
RESIZE_FLAGS = st.sampled_from([0, 0, 1, 2, 4, 5, 6])
SIZES = st.sampled_from([MIB, 2 * MIB, 3 * MIB])


def volume_document(name: str, size: int, format_: str) -> str:
    return (
        f"<volume><name>{name}</name><capacity>{size}</capacity><allocation>0</allocation>"
        f"<target><format type='{format_}'/></target></volume>"
    )


@dataclass
class Known:
    """What a pool is, by all that both peers have accepted."""

    uuid: str
    current: What
    stored: What | None
    active: bool = False
    stored_xml: str = ""


class LifeCycle(RuleBasedStateMachine):
    """Two pools of each peer, and what is known of them."""

    daemon: ClassVar[SystemLibvirtd]
    met: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.undo = ExitStack()
        folder = Path(tempfile.mkdtemp(prefix="volary-"))
        self.undo.callback(shutil.rmtree, folder)
        for name in ("theirs", "ours"):
            (folder / name).mkdir()
        connection = self.undo.enter_context(volary.open(state_dir=folder / "state"))
        self.theirs = Theirs(self.daemon, folder / "theirs")
        self.undo.callback(self.clear_theirs)
        self.ours = Ours(connection, folder / "ours")
        self.pools: dict[str, Known] = {}

    def clear_theirs(self) -> None:
        for pool in self.theirs.connection.listAllStoragePools(0):
            if pool.isActive():
                pool.destroy()
            # A transient one is gone with that.
            outcome(self.theirs, methodcaller("undefine", pool.name()))

    def teardown(self) -> None:
        self.undo.close()

    # Asking both.

    def both(
        self,
        call: Callable[[Peer], Any],
        what: str,
        but: Codes | None = None,
    ) -> Any:
        """Ask both; return what both answer, or None when both refuse for the same reason.

        but: the difference for which libvirt's error code and ours may be two.
        """
        answer = self.same(call, what, but)
        self.note("refused" if answer is None else "done")
        return answer

    def same(
        self, call: Callable[[Peer], Any], what: str, but: Codes | None = None
    ) -> tuple[Any] | None:
        theirs, ours = outcome(self.theirs, call), outcome(self.ours, call)
        if isinstance(theirs, Refused) or isinstance(ours, Refused):
            assert isinstance(ours, Refused), f"{what}: {theirs!r}, but ours: {ours!r}"
            assert isinstance(theirs, Refused), f"{what}: {theirs!r}, but ours: {ours!r}"
            difference = (but or {}).get((theirs.code, ours.code))
            if difference is not None:
                self.note(difference.name)
                return None
            assert theirs.code == ours.code, f"{what}: {theirs!r}, but ours: {ours!r}"
            return None
        assert theirs == ours, what
        return (theirs,)

    def note(self, what: str) -> None:
        self.met[what] = self.met.get(what, 0) + 1

    def ours_refuses(
        self, call: Callable[[Peer], Any], code: ErrorCode, difference: Difference
    ) -> None:
        """Ask ours alone, which refuses what libvirt does."""
        answer = outcome(self.ours, call)
        assert isinstance(answer, Refused), f"{difference}: {answer!r}"
        assert answer.code == code, f"{difference}: {answer!r}"
        self.note(difference.name)

    def uuid(self, name: str, which: str) -> str:
        if which == "unknown":
            return OTHER_UUID
        return UUIDS[name if which == "own" else next(it for it in NAMES if it != name)]

    def stricter(self, name: str, what: What) -> Difference | None:
        """Return the difference for which Volary refuses what libvirt would not."""
        found = None
        for other_name, known in self.pools.items():
            if other_name == name:
                continue
            if what.sources & known.current.sources:
                return None
            stored = known.stored or known.current
            if what.sources & stored.sources:
                found = Difference.PENDING
            elif what.directory and what.directory in (known.current.directory, stored.directory):
                found = Difference.ONE_DIRECTORY
        return found

    # The life cycle.

    @initialize(how=st.tuples(STATES, STATES))
    def begin_with_some(self, how: tuple[str, str]) -> None:
        for name, what, state in zip(NAMES, DIRECTORIES, how, strict=False):
            if state == "transient":
                self.create(name=name, which="own", what=what, flags=int(PoolStart.BUILD))
            elif state:
                self.define(name=name, which="own", what=what)
            if state == "active":
                self.start(name=name, flags=int(PoolStart.BUILD))

    def near(self, name: str, aimed: bool) -> str:
        """Return that pool, or one that is active, or is there: of others, most is refused."""
        there = sorted(self.pools, key=lambda it: (not self.pools[it].active, it != name))
        return there[0] if aimed and there else name

    @rule(name=ANY_NAME, which=ANY_UUID, what=WHAT)
    def define(self, name: str, which: str, what: What) -> None:
        uuid = self.uuid(name, which)

        def call(peer: Peer) -> None:
            peer.define(what.document(name, uuid, peer.home))

        difference = self.stricter(name, what)
        if difference is not None:
            self.ours_refuses(call, ErrorCode.OPERATION_FAILED, difference)
        elif self.both(call, f"define {name} {uuid} {what}"):
            known = self.pools.setdefault(name, Known(uuid, what, what))
            known.stored = what
            if not known.active:
                known.current = what
            known.stored_xml = plain(self.theirs, self.theirs.xml(name, PoolXml.INACTIVE))

    @rule(name=ANY_NAME, which=ANY_UUID, what=st.sampled_from(DIRECTORIES), flags=START_FLAGS)
    def create(self, name: str, which: str, what: What, flags: int) -> None:
        uuid = self.uuid(name, which)

        def call(peer: Peer) -> None:
            peer.create(what.document(name, uuid, peer.home), flags)

        difference = self.stricter(name, what)
        if difference is not None:
            self.ours_refuses(call, ErrorCode.OPERATION_FAILED, difference)
        elif self.build_both(call, f"create {name} {uuid} {what} {flags}", what):
            known = self.pools.setdefault(name, Known(uuid, what, None))
            known.current, known.active = what, True

    @rule(name=ANY_NAME, flags=START_FLAGS)
    def start(self, name: str, flags: int) -> None:
        what = self.what(name)
        if what.type == "dir":
            if self.build_both(lambda it: it.start(name, flags), f"start {name} {flags}", what):
                self.pools[name].active = True
        else:
            self.not_started(lambda it: it.start(name, flags), what)

    @rule(name=ANY_NAME, flags=BUILD_FLAGS)
    def build(self, name: str, flags: int) -> None:
        what = self.what(name)
        if what.type == "dir":
            self.build_both(lambda it: it.build(name, flags), f"build {name} {flags}", what)
        else:
            self.not_started(lambda it: it.build(name, flags), what)

    def not_started(self, call: Callable[[Peer], None], what: What) -> None:
        """What has a backend is other tests'; libvirt would look for the rest on this host."""
        if what.type not in ("fs", "disk"):
            self.ours_refuses(call, ErrorCode.NO_SUPPORT, Difference.NO_BACKEND)

    def what(self, name: str) -> What:
        known = self.pools.get(name)
        return DIRECTORIES[0] if known is None else known.current

    def build_both(self, call: Callable[[Peer], None], what: str, at: What) -> bool:
        """Do what may build; put back what a build that is refused has done for libvirt."""
        place = at.place(self.theirs)
        missing = [it for it in (place, *place.parents) if not it.exists()]
        mode = place.stat().st_mode & 0o7777 if place.exists() else 0
        done = self.both(call, what)
        if done is None:
            made = [it for it in missing if it.exists()]
            for path in made:
                path.rmdir()
            if place.exists() and place.stat().st_mode & 0o7777 != mode:
                place.chmod(mode)
                made.append(place)
            if made:
                self.note(Difference.NOTHING_BUILT.name)
        return done is not None

    @rule(name=ANY_NAME)
    def stop(self, name: str) -> None:
        if not self.both(lambda it: it.stop(name), f"stop {name}"):
            return
        known = self.pools[name]
        if known.stored is None:
            del self.pools[name]
            return
        known.active, known.current = False, known.stored
        # Difference.FOUND: libvirt keeps what it has found until the pool is redefined.
        self.theirs.define(known.stored.document(name, known.uuid, self.theirs.home))

    @rule(name=ANY_NAME, flags=st.sampled_from([0, 0, 0, 1]))
    def delete(self, name: str, flags: int) -> None:
        what = self.what(name)
        if what.type == "dir":
            self.both(lambda it: it.delete(name, flags), f"delete {name} {flags}")
        elif what.type not in ("fs", "disk"):
            self.not_started(lambda it: it.delete(name, 0), what)

    @rule(name=ANY_NAME)
    def undefine(self, name: str) -> None:
        if self.both(lambda it: it.undefine(name), f"undefine {name}"):
            del self.pools[name]

    @rule(name=ANY_NAME, aimed=AIMED, on=st.booleans())
    def set_autostart(self, name: str, aimed: bool, on: bool) -> None:
        name = self.near(name, aimed)
        self.both(lambda it: it.set_autostart(name, on=on), f"autostart {name} {on}")

    @rule(name=ANY_NAME, aimed=AIMED)
    def refresh(self, name: str, aimed: bool) -> None:
        name = self.near(name, aimed)
        self.both(lambda it: it.refresh(name), f"refresh {name}")

    @rule(name=ANY_NAME, file=VOLUMES, size=SIZES)
    def put_a_file(self, name: str, file: str, size: int) -> None:
        """Somebody else does, and nobody looks: each peer knows of it at its next refresh."""
        what = self.what(name)
        for peer in (self.theirs, self.ours):
            place = what.place(peer)
            if what.type == "dir" and place.is_dir() and not (place / file).exists():
                (place / file).touch(0o644)
                os.truncate(place / file, size)

    # Volumes.

    @rule(
        name=ANY_NAME, aimed=AIMED, volume=VOLUMES, size=SIZES, format_=FORMATS, flags=CREATE_FLAGS
    )
    def create_volume(
        self, *, name: str, aimed: bool, volume: str, size: int, format_: str, flags: int
    ) -> None:
        name = self.near(name, aimed)
        document = volume_document(volume, size, format_)
        self.both(
            lambda it: it.create_volume(name, document, flags),
            f"create {name}/{document} {flags}",
            {
                **(ARGUMENTS_FIRST if flags or self.what(name).type != "dir" else {}),
                **self.taken(name),
            },
        )

    @rule(
        name=ANY_NAME,
        aimed=AIMED,
        volume=VOLUMES,
        size=SIZES,
        format_=FORMATS,
        source=st.tuples(ANY_NAME, VOLUMES),
    )
    def clone_volume(
        self,
        *,
        name: str,
        aimed: bool,
        volume: str,
        size: int,
        format_: str,
        source: tuple[str, str],
    ) -> None:
        name = self.near(name, aimed)
        source = (self.near(source[0], aimed), source[1])
        capacity = outcome(self.ours, lambda it: it.capacity(*source))
        converted = "qcow2" in (format_, self.format(*source))
        if isinstance(capacity, int) and size > capacity and converted:
            size = capacity
            self.note(Difference.LARGER_CLONE.name)
        document = volume_document(volume, size, format_)
        if isinstance(capacity, int) and size < capacity:
            known = self.pools.get(name)
            if known is not None and known.active and volume not in self.ours.volumes(name):
                self.ours_refuses(
                    lambda it: it.clone_volume(name, document, source),
                    ErrorCode.INVALID_ARG,
                    Difference.SMALLER_CLONE,
                )
            return
        self.both(
            lambda it: it.clone_volume(name, document, source),
            f"clone {source} to {name}/{document}",
            self.taken(name),
        )

    def format(self, name: str, volume: str) -> str:
        """Return the format of a volume that is there; "" for any other."""
        document = outcome(self.ours, lambda it: it.volume_xml(name, volume))
        found = re.search("<format type='(.*)'/>", str(document))
        return found[1] if found else ""

    def taken(self, name: str) -> Codes:
        known = self.pools.get(name)
        return TAKEN if known is not None and known.active else {}

    @rule(name=ANY_NAME, aimed=AIMED, volume=VOLUMES)
    def delete_volume(self, name: str, aimed: bool, volume: str) -> None:
        name = self.near(name, aimed)
        self.both(lambda it: it.delete_volume(name, volume), f"delete {name}/{volume}")

    @rule(name=ANY_NAME, aimed=AIMED, volume=VOLUMES, size=SIZES, flags=RESIZE_FLAGS)
    def resize_volume(self, name: str, aimed: bool, volume: str, size: int, flags: int) -> None:
        name = self.near(name, aimed)
        if flags & VolumeResize.ALLOCATE and self.format(name, volume) == "qcow2":
            flags &= ~VolumeResize.ALLOCATE
            self.note(Difference.ALLOCATED_QCOW2.name)
        capacity = outcome(self.ours, lambda it: it.capacity(name, volume))
        less = VolumeResize.DELTA | VolumeResize.SHRINK
        if flags & less == less and isinstance(capacity, int) and size >= capacity:
            self.ours_refuses(
                lambda it: it.resize_volume(name, volume, size, flags),
                ErrorCode.INVALID_ARG,
                Difference.TO_NOTHING,
            )
            return
        if flags & VolumeResize.SHRINK and isinstance(capacity, int):
            wanted = capacity - size if flags & VolumeResize.DELTA else size
            if wanted < self.theirs.allocation(name, volume):
                self.note(Difference.BELOW_ALLOCATION.name)
                return
        self.both(
            lambda it: it.resize_volume(name, volume, size, flags),
            f"resize {name}/{volume} to {size} {flags}",
        )

    @rule(what=st.sampled_from(DIRECTORIES), volume=VOLUMES)
    def look_up_by_path(self, what: What, volume: str) -> None:
        self.both(
            lambda it: it.volume_by_path(os.fspath(what.place(it) / volume)),
            f"look up {what}/{volume}",
        )

    @rule(name=ANY_NAME, aimed=AIMED, volume=VOLUMES)
    def look_up_by_key(self, name: str, aimed: bool, volume: str) -> None:
        name = self.near(name, aimed)
        self.both(lambda it: it.volume_by_its_key(name, volume), f"look up {name}/{volume}")

    # Look-ups.

    @rule(flags=LISTS)
    def list(self, flags: int) -> None:
        self.both(lambda it: it.pools(flags), f"list {PoolList(flags)!r}")

    @rule(which=st.sampled_from([*UUIDS.values(), OTHER_UUID]))
    def look_up_by_uuid(self, which: str) -> None:
        self.both(lambda it: it.by_uuid(which), f"look up {which}")

    @rule(what=st.sampled_from(DIRECTORIES))
    def look_up_by_target(self, what: What) -> None:
        known = [it for it in self.pools.values() if it.current.target == what.target]
        if all(it.active for it in known):
            self.both(lambda it: it.by_target(os.fspath(what.place(it))), f"look up {what}")
        else:  # Difference.BY_TARGET
            self.ours.by_target(os.fspath(what.place(self.ours)))
            self.note(Difference.BY_TARGET.name)

    @invariant()
    def both_say_the_same(self) -> None:
        assert self.same(lambda it: it.pools(0), "list") == (sorted(self.pools),)
        for name, known in self.pools.items():
            status = self.same(methodcaller("status", name), f"status of {name}")
            assert status is not None
            assert status[0][:2] == (known.active, known.stored is not None)
            self.the_documents_are_the_same(name, known)
            found = self.same(methodcaller("volumes", name), f"list {name}")
            for volume in found[0] if found else ():
                self.same(methodcaller("capacity", name, volume), f"capacity of {name}/{volume}")
                self.the_volumes_are_described_alike(name, volume)
            state, *sizes = self.ours.info(name)
            assert self.theirs.info(name)[0] == state
            assert known.active == (state != 0)
            assert known.active == any(sizes)

    def the_volumes_are_described_alike(self, name: str, volume: str) -> None:
        theirs, ours = (
            # Difference.WHAT_IS_NEW: what is allocated may be 0 for one of them.
            _ALLOCATION.sub("", plain(peer, peer.volume_xml(name, volume)))
            for peer in (self.theirs, self.ours)
        )
        if ours != theirs and "<clusterSize" not in theirs:
            ours = re.sub("    <clusterSize.*\n", "", ours)
            self.note(Difference.NEW_VOLUME.name)
        assert ours == theirs

    def the_documents_are_the_same(self, name: str, known: Known) -> None:
        for flags in (PoolXml.NONE, PoolXml.INACTIVE):
            theirs = plain(self.theirs, self.theirs.xml(name, flags))
            ours = plain(self.ours, self.ours.xml(name, flags))
            if flags and known.active and known.stored in (None, known.current):
                # Difference.FOUND: libvirt shows what it has found.
                if known.stored is None:
                    continue
                theirs = known.stored_xml
            assert ours == theirs


EXAMPLES = os.environ.get("VOLARY_RANDOM_EXAMPLES")

TestLifeCycle = LifeCycle.TestCase
TestLifeCycle.settings = settings(
    max_examples=int(EXAMPLES or 30),
    stateful_step_count=40,
    deadline=None,
    derandomize=EXAMPLES is None,
    database=None,
    # An example has hundreds of choices: it is read rather than made smaller for many minutes.
    phases=[Phase.generate],
)


@pytest.fixture(autouse=True, scope="module")
def _daemon(system_libvirtd: SystemLibvirtd) -> Iterator[None]:
    LifeCycle.daemon = system_libvirtd
    yield
    sys.stdout.write(f"\n{LifeCycle.met}\n")


pytestmark = pytest.mark.timeout(180 if EXAMPLES is None else 0)
