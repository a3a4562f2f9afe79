"""Every qcow2 that can be asked for, made by us and judged by QEMU.

`python -m tests.system.qcow2_grid` goes over all of it, on two processors in three minutes;
tests/engine/formats/test_qcow2.py takes a part in which every two options meet.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from itertools import combinations, product
from pathlib import Path
from typing import Any

from volary.engine.errors import InvalidSpec
from volary.engine.formats import qcow2
from volary.engine.volume_spec import VolumeSpec

KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40

MAX = -1
"""The largest capacity that the L1 table maps."""

BASE_SIZE = MIB
BASE_BYTE = 0x5A

_MOST_TABLES = 128 * MIB
"""Bytes of L2 tables that QEMU makes and checks in some seconds."""


@dataclass(frozen=True)
class Case:
    """One point of the grid; capacity in bytes, or `MAX`."""

    compat: str
    cluster_size: int
    lazy_refcounts: bool
    extended_l2: bool
    preallocation: str
    backing: str | None
    capacity: int

    @property
    def name(self) -> str:
        return "-".join(str(value) for value in astuple(self))

    @property
    def largest(self) -> int:
        """QCOW_MAX_L1_SIZE, 32 MiB, of pointers to L2 tables of one cluster each."""
        entries = self.cluster_size // (16 if self.extended_l2 else 8)
        return 4 * MIB * entries * self.cluster_size

    @property
    def size(self) -> int:
        return self.largest if self.capacity == MAX else self.capacity

    @property
    def rounded(self) -> int:
        return -(-self.size // 512) * 512

    @property
    def is_possible(self) -> bool:
        if self.compat == "0.10" and (self.lazy_refcounts or self.extended_l2):
            return False
        if self.extended_l2 and self.cluster_size < 16 * KIB:
            return False
        if self.backing and self.preallocation != "off" and not self.extended_l2:
            return False
        if self.capacity == MAX and self.preallocation != "off":
            # Its L1 table maps as much as its refcount table counts, and so the tables themselves
            # are too much; extended, it maps half of that, up to offsets of 56 bits.
            return self.extended_l2 and self.cluster_size < 512 * KIB
        return self.size <= self.largest

    def is_affordable(self, most_tables: int = _MOST_TABLES) -> bool:
        """Whether it fits on an ordinary disk and is looked at soon."""
        if self.preallocation == "metadata":
            entry = 16 if self.extended_l2 else 8
            return self.size // self.cluster_size * entry <= most_tables
        return self.preallocation == "off" or self.size <= 4 * MIB

    def spec(self) -> VolumeSpec:
        options: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.backing:
            options |= {"backing": f"base.{self.backing}", "backing_format": self.backing}
        return VolumeSpec(self.name, format="qcow2", **(options | {"capacity": self.size}))


CLUSTER_SIZES = [512 << i for i in range(13)]
CAPACITIES = [0, 1, 511, 512, 64 * KIB + 512, 3 * MIB + 1, TIB, MAX, (1 << 63) - 2 * MIB]


def cases() -> Iterator[Case]:
    """Return the whole grid, what is impossible as well."""
    for values in product(
        ["0.10", "1.1"],
        CLUSTER_SIZES,
        [False, True],
        [False, True],
        ["off", "metadata", "falloc", "full"],
        [None, "raw", "qcow2"],
        CAPACITIES,
    ):
        yield Case(*values)


def pairwise() -> list[Case]:
    """Return a part of the grid in which every two options that can meet do."""
    grid = [case for case in cases() if case.is_possible and case.is_affordable(8 * MIB)]
    random.Random(3).shuffle(grid)
    seen: set[object] = set()
    chosen = []
    for case in grid:
        pairs = set(combinations(enumerate(astuple(case)), 2))
        if pairs - seen:
            seen |= pairs
            chosen.append(case)
    return chosen


def tool(*command: object) -> str:
    """Run a program of QEMU, and return what it prints; it must succeed."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def make_bases(directory: Path) -> None:
    """Make what the overlays lie on: a MiB of one byte, raw and qcow2."""
    raw = directory / "base.raw"
    raw.write_bytes(bytes([BASE_BYTE]) * BASE_SIZE)
    tool("qemu-img", "convert", "-O", "qcow2", raw, directory / "base.qcow2")


def create(path: Path, spec: VolumeSpec) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        for _ in qcow2.create(fd, spec):
            pass
    finally:
        os.close(fd)


def verify(directory: Path, case: Case) -> None:
    """Create the image, and have QEMU check, describe, compare, read and write it."""
    path = directory / case.name
    spec = case.spec()
    create(path, spec)
    try:
        taken = path.stat().st_blocks * 512
        assert taken <= qcow2.measure(spec), "takes more than it was said to"
        check(path)
        described_as_asked(path, case)
        if case.preallocation == "metadata":
            compare_with_qemu_img(path, case)
        if case.size:
            read_and_write(path, case)
            check(path)
    finally:
        path.unlink()


def check(path: Path) -> None:
    report = json.loads(tool("qemu-img", "check", "--output=json", "-f", "qcow2", path))
    assert report["check-errors"] == 0
    assert not report.keys() & {"corruptions", "leaks"}, report


def described_as_asked(path: Path, case: Case) -> None:
    info = json.loads(tool("qemu-img", "info", "--output=json", "-f", "qcow2", path))
    assert info["virtual-size"] == case.rounded
    assert info["cluster-size"] == case.cluster_size
    backing = None if case.backing is None else f"base.{case.backing}"
    assert info.get("backing-filename") == backing
    assert info.get("backing-filename-format") == case.backing
    expected: dict[str, object] = {"compat": case.compat, "refcount-bits": 16}
    if case.compat == "1.1":
        expected |= {
            "compression-type": "zlib",
            "lazy-refcounts": case.lazy_refcounts,
            "corrupt": False,
            "extended-l2": case.extended_l2,
        }
    else:
        expected["compression-type"] = "zlib"
    assert info["format-specific"]["data"] == expected
    assert not info["dirty-flag"]


def options(case: Case) -> str:
    """Return the case in the words of `qemu-img create -o`."""
    words = {
        "compat": case.compat,
        "cluster_size": case.cluster_size,
        "lazy_refcounts": "on" if case.lazy_refcounts else "off",
        "extended_l2": "on" if case.extended_l2 else "off",
        "preallocation": case.preallocation,
    }
    if case.backing:
        words |= {"backing_file": f"base.{case.backing}", "backing_fmt": case.backing}
    return ",".join(f"{key}={value}" for key, value in words.items())


def compare_with_qemu_img(path: Path, case: Case) -> None:
    """Compare content and allocation with those of an image that qemu-img made."""
    theirs = path.with_name(path.name + "-qemu")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", options(case), theirs, case.size)
    try:
        tool("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", path, theirs)
        assert allocated(path) == allocated(theirs)
        slack = 2 * case.cluster_size  # it ends at the last sector, and moves tables that grow
        assert abs(path.stat().st_size - theirs.stat().st_size) <= slack
    finally:
        theirs.unlink()


def allocated(path: Path) -> list[tuple[int, int, bool]]:
    """Return which image of the chain each part of the image is in, and whether in any.

    `qemu-img compare -s` would also tell holes of the file from what was written into it.
    """
    parts: list[tuple[int, int, bool]] = []
    for part in json.loads(tool("qemu-img", "map", "--output=json", "-f", "qcow2", path)):
        kind = (part["depth"], part["present"])
        if not parts or parts[-1][1:] != kind:
            parts.append((part["start"], *kind))
    return parts


def read_and_write(path: Path, case: Case) -> None:
    """Write the first and the last sector, and read them and what lies between."""
    end = case.rounded
    below = min(BASE_SIZE, end) if case.backing else 0
    reads = [(512, end - 512, 0)] if end <= 4 * MIB else [(end - MIB, MIB - 512, 0)]
    if below > 1024:
        reads = [(512, min(below, end - 512) - 512, BASE_BYTE)]
        if end > below + 512:
            reads.append((below, min(end - 512 - below, MIB), 0))
    reads = [(at, min(length, end - 512 - at), byte) for at, length, byte in reads]
    last = end - 512
    commands = [
        *("write -P 1 0 512", f"write -P 2 {last} 512", f"read -P 2 {last} 512"),
        *(f"read -P {byte} {at} {length}" for at, length, byte in reads if length > 0),
        *(["read -P 1 0 512"] if last else []),
    ]
    told = tool(
        "qemu-io", "-f", "qcow2", *(word for one in commands for word in ("-c", one)), path
    )
    assert "verification failed" not in told, told


def refused(case: Case) -> bool:
    try:
        qcow2.measure(case.spec())
    except InvalidSpec:
        return True
    return False


def main() -> int:
    grid = list(cases())
    impossible = [case for case in grid if not case.is_possible]
    failures = [f"{case.name}: not refused" for case in impossible if not refused(case)]
    possible = [case for case in grid if case.is_possible and case.is_affordable()]
    counts = Counter(case.preallocation for case in possible)
    began = time.monotonic()

    def run(case: Case) -> str | None:
        try:
            verify(directory, case)
        except Exception as error:
            return f"{case.name}: {error!r}"
        return None

    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        directory = Path(name)
        make_bases(directory)
        failures += [why for why in pool.map(run, possible) if why is not None]
    sys.stdout.writelines(f"{why}\n" for why in failures)
    sys.stdout.write(
        f"{len(grid)} combinations: {len(impossible)} impossible and refused, "
        f"{len(grid) - len(impossible) - len(possible)} too large to be looked at, "
        f"{len(possible)} made and verified in {time.monotonic() - began:.0f} s, by "
        f"preallocation {dict(counts)}; {len(failures)} failed\n"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
