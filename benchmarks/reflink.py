"""Clones that share their source's blocks, on xfs and btrfs, beside cp and the bare system calls.

cp is a process, which takes a millisecond or two to start, and puts nothing on disk: when it
returns, its clone can still be lost. Ours is on disk then, name and content. So cp is measured
with a sync after it, too.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial

import volary
from benchmarks import bare, loop_device, sparse_source
from benchmarks.figures import Summary, ms, print_table, print_wanted, summarise
from benchmarks.runner import Bench, Figures
from volary.engine.linux import share_blocks

_WANTED_TIMES_CP = 2

_VOLARY = "Volary, durable"
_CP = "cp --reflink=always"


def run(bench: Bench) -> Figures:
    """Alternate between all ways, on a new file system of each kind."""
    figures: Figures = {}
    for kind in ("xfs", "btrfs"):
        size = bench.affordable(512 << 20 if bench.quick else 4 << 30)
        with loop_device.mounted(bench, kind, size // 2 + (1 << 30)) as directory:
            if directory is not None:
                figures |= _report(kind, size, _measure(bench, kind, directory, size))
    return figures


def _measure(bench: Bench, kind: str, directory: str, size: int) -> dict[str, Summary]:
    state, target = (tempfile.mkdtemp(dir=directory) for _ in range(2))
    with volary.open(state_dir=state) as connection:
        pool = connection.create_pool(volary.PoolSpec("pool", type="dir", target=target))
        bench.say("writing the source")
        source = sparse_source.make(pool, size)
        ways: dict[str, Callable[[str], float]] = {
            _VOLARY: partial(_clone, pool, source),
            _CP: partial(_cp, source.path, target, sync=False),
            f"{_CP}, then fsync": partial(_cp, source.path, target, sync=True),
            "bare system calls, durable": partial(_share, source.path, target),
        }
        rounds = 21 if bench.quick else 101
        taken: dict[str, list[float]] = {name: [] for name in ways}
        names = list(ways)
        for number in range(rounds):
            if number % 20 == 0:
                bench.say(f"{kind}, round {number + 1} of {rounds}")
            for name in names if number % 2 == 0 else reversed(names):
                taken[name].append(ways[name]("clone"))
                # What the last one left in the file system's log is not the next one's.
                os.unlink(os.path.join(target, "clone"))
                os.sync()
    return {name: summarise(seconds) for name, seconds in taken.items()}


def _clone(pool: volary.Pool, source: volary.Volume, name: str) -> float:
    pool.refresh()  # the last clone is gone
    began = time.perf_counter()
    pool.clone_volume(source, volary.VolumeSpec(name), volary.VolumeCreate.REFLINK)
    return time.perf_counter() - began


def _cp(source: str, target: str, name: str, *, sync: bool) -> float:
    path = os.path.join(target, name)
    began = time.perf_counter()
    subprocess.run([*_CP.split(), source, path], check=True)
    if sync:
        bare.sync_file(path)
    return time.perf_counter() - began


def _share(source: str, target: str, name: str) -> float:
    """Do what a clone comes to: the content on disk, then the name."""
    dir_fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    source_fd = os.open(source, os.O_RDONLY)
    try:
        began = time.perf_counter()
        fd = bare.open_unnamed(dir_fd)
        try:
            share_blocks(source_fd, fd)
            os.fsync(fd)
            bare.give_name(fd, dir_fd, name)
            bare.sync_name(fd, dir_fd)
        finally:
            os.close(fd)
        return time.perf_counter() - began
    finally:
        os.close(source_fd)
        os.close(dir_fd)


def _report(kind: str, size: int, found: dict[str, Summary]) -> Figures:
    print_table(
        f"Clone by reflink of a raw volume of {volary.format_size(size)}, half of it data, on "
        f"{kind} on a loop device, {found[_CP].count} alternating rounds",
        ("", "median ms", "min ms", "p99 ms"),
        [(name, ms(s.median), ms(s.smallest), ms(s.p99)) for name, s in found.items()],
    )
    times = found[_VOLARY].median / found[_CP].median
    print_wanted(
        f"<= {_WANTED_TIMES_CP} times {_CP}", f"{times:.2f}", met=times <= _WANTED_TIMES_CP
    )
    return {f"{kind}.{name.partition(',')[0]}_s": s.median for name, s in found.items()} | {
        f"{kind}.times_cp_ratio": times
    }
