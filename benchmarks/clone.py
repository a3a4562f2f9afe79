"""Clones of a raw volume beside cp, qemu-img convert and libvirt, source cold and warm."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import volary
from benchmarks import bare, libvirt_daemon, sparse_source
from benchmarks.figures import percent, print_table, print_wanted, summarise
from benchmarks.runner import Bench, Figures
from volary.engine.formats.data_runs import data_runs
from volary.engine.formats.raw import EXTENT

_WANTED_OF_CP = 0.95
_WANTED_TIMES_LIBVIRT = 2
_SETTLE = 0.5
_NOISE = 1 << 20
"""Bytes that a clone may take beyond its source's, for the file system's own account of it."""

_VOLARY = "Volary, with progress"
_CP = "cp --sparse=auto"
_CONVERT = "qemu-img convert -W -f raw -O raw"
_PEER = "libvirt, clone of a volume"
_NAME = "clone"


def run(bench: Bench) -> Figures:
    """Alternate between all ways to clone, the source being read from disk, then from memory."""
    size = bench.affordable(512 << 20 if bench.quick else 4 << 30) // EXTENT * EXTENT
    with libvirt_daemon.reach(bench) as peer, bench.connection() as connection:
        pool = bench.pool(connection, "pool")
        bench.say("writing the source")
        source = sparse_source.make(pool, size)
        clone = os.path.join(pool.target, _NAME)
        ways: dict[str, Callable[[], float]] = {
            _VOLARY: lambda: _clone(pool, source),
            _CP: lambda: _run(*_CP.split(), source.path, clone),
            f"{_CP}, then fsync": lambda: _run(*_CP.split(), source.path, clone) + _sync(clone),
            _CONVERT: lambda: _run(*_CONVERT.split(), source.path, clone),
        }
        if peer is not None:
            reached = peer
            ways[_PEER] = lambda: reached.clone(pool.target, source.name, _NAME)
        clones = _Clones(bench, source.path, clone, ways)
        on_disk = {name: clones.check(name) for name in ways}
        cold = clones.time("cold", 1 if bench.quick else 3)
        warm = clones.time("warm", 1 if bench.quick else 2)
    return _report("cold", size, cold, on_disk) | _report("warm", size, warm, on_disk)


# The ways.


def _clone(pool: volary.Pool, source: volary.Volume) -> float:
    pool.refresh()  # the last clone is gone
    told: list[volary.Progress] = []
    began = time.perf_counter()
    pool.clone_volume(source, volary.VolumeSpec(_NAME), on_progress=told.append)
    seconds = time.perf_counter() - began
    assert told[-1].done == told[-1].total > 0
    return seconds


def _run(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began


def _sync(path: str) -> float:
    began = time.perf_counter()
    bare.sync_file(path)
    return time.perf_counter() - began


# What is done around each of them.


@dataclass(frozen=True, slots=True)
class _Clones:
    """The ways to clone `source` to `clone`, each with what it takes: seconds of one go."""

    bench: Bench
    source: str
    clone: str
    ways: Mapping[str, Callable[[], float]]

    def check(self, name: str) -> int:
        """Clone once, and see that the clone is what its source is; return its bytes on disk."""
        self.bench.say(f"{name}: is its clone the same?")
        try:
            self.ways[name]()
            compared = subprocess.run(
                ["cmp", self.source, self.clone], check=False, capture_output=True, text=True
            )
            if compared.returncode != 0:
                raise RuntimeError(f"{name}: {compared.stdout}{compared.stderr}")
            there, here = (os.stat(path).st_blocks * 512 for path in (self.source, self.clone))
            if here > there + _NOISE:
                raise RuntimeError(f"{name}: {here - there} bytes of holes are holes no more")
            return here
        finally:
            self._delete()

    def time(self, cache: str, rounds: int) -> dict[str, list[float]]:
        """Return the seconds of each way: in order, then in the opposite order, and so on."""
        taken: dict[str, list[float]] = {name: [] for name in self.ways}
        names = list(self.ways)
        for number in range(rounds):
            self.bench.say(f"{cache} source, round {number + 1} of {rounds}")
            for name in names if number % 2 == 0 else reversed(names):
                self._prepare(warm=cache == "warm")
                try:
                    taken[name].append(self.ways[name]())
                finally:
                    self._delete()
        return taken

    def _prepare(self, *, warm: bool) -> None:
        """Have all of the source's data in the page cache, or none of it."""
        fd = os.open(self.source, os.O_RDONLY)
        try:
            if not warm:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                return
            buffer = memoryview(bytearray(EXTENT))
            for begin, end in data_runs(fd, 0, os.fstat(fd).st_size):
                for offset in range(begin, end, EXTENT):
                    os.preadv(fd, [buffer[: end - offset]], offset)
        finally:
            os.close(fd)

    def _delete(self) -> None:
        """Delete the clone, and give the disk a rest: to free a written GiB takes it a while
        (discard), and that must not fall into the time of the next one.
        """
        with suppress(FileNotFoundError):
            os.unlink(self.clone)
        os.sync()
        time.sleep(_SETTLE)


def _report(
    cache: str, size: int, taken: Mapping[str, list[float]], on_disk: Mapping[str, int]
) -> Figures:
    found = {name: summarise(seconds) for name, seconds in taken.items()}
    print_table(
        f"Clone of a raw volume of {volary.format_size(size)}, half of it data, {cache} source, "
        f"median of {found[_VOLARY].count} alternating rounds; contents compared",
        ("", "seconds", "MB/s of data", "spread", "MiB on disk"),
        [
            (
                name,
                f"{seconds.median:.2f}",
                f"{size / 2e6 / seconds.median:,.0f}",
                percent(seconds.spread),
                f"{on_disk[name] / (1 << 20):,.0f}",
            )
            for name, seconds in found.items()
        ],
    )
    figures = {f"{cache}.{name.partition(',')[0]}_s": s.median for name, s in found.items()}
    for other, wanted in ((_CP, _WANTED_OF_CP), (_PEER, _WANTED_TIMES_LIBVIRT)):
        if other not in taken:
            continue
        # Each round is compared for itself: the machine is not as fast in each.
        pairs = zip(taken[other], taken[_VOLARY], strict=True)
        ratio = summarise(there / here for there, here in pairs).median
        print_wanted(f">= {wanted} of the speed of {other}", f"{ratio:.2f}", met=ratio >= wanted)
        figures[f"{cache}.of_{other.partition(',')[0]}_ratio"] = ratio
    return figures
