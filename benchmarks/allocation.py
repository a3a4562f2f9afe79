"""Large volumes: fully written beside dd, and fallocated beside the bare system calls."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

import volary
from benchmarks import bare
from benchmarks.figures import ms, percent, print_table, print_wanted, summarise
from benchmarks.runner import Bench, Figures
from volary.engine.formats.raw import EXTENT, FALLOCATE_EXTENT
from volary.engine.volume_spec import Preallocation

_WANTED_WRITTEN = 0.95
_WANTED_RESERVED = 1.10


def run(bench: Bench) -> Figures:
    """Measure both ways of allocating."""
    size = bench.affordable(2 * ((512 << 20) if bench.quick else (4 << 30))) // 2
    size -= size % EXTENT
    directory = bench.fresh("bare")
    with bench.connection() as connection:
        pool = bench.pool(connection, "pool")
        return _written(bench, pool, directory, size) | _reserved(bench, pool, directory)


def _written(bench: Bench, pool: volary.Pool, directory: str, size: int) -> Figures:
    path = os.path.join(directory, "dd")
    ours, theirs = _in_turns(
        bench,
        "written",
        rounds=1 if bench.quick else 4,
        settle=0.3,
        ours=lambda: _create(pool, size, "full"),
        theirs=lambda: bare.dd(path, size, EXTENT),
        delete=lambda: _delete(pool, path),
    )
    volary_rate, dd_rate = (size / summarise(taken).median for taken in (ours, theirs))
    # Each round is a pair that ran within seconds: pairs are compared, not runs minutes apart.
    ratio = summarise(there / here for here, there in zip(ours, theirs, strict=True))
    print_table(
        f"Fully written, {volary.format_size(size)} in extents of {volary.format_size(EXTENT)}, "
        f"median of {len(ours)} rounds",
        ("", "MB/s", "spread"),
        [
            (
                "Volary, with progress",
                f"{volary_rate / 1e6:,.0f}",
                percent(summarise(ours).spread),
            ),
            (
                "dd oflag=direct conv=fsync",
                f"{dd_rate / 1e6:,.0f}",
                percent(summarise(theirs).spread),
            ),
            ("ratio of rates", f"{ratio.median:.3f}", percent(ratio.spread)),
        ],
    )
    print_wanted(
        f"ratio >= {_WANTED_WRITTEN}", f"{ratio.median:.3f}", met=ratio.median >= _WANTED_WRITTEN
    )
    return {
        "written_bytes_per_s": volary_rate,
        "dd_bytes_per_s": dd_rate,
        "written_ratio": ratio.median,
    }


def _reserved(bench: Bench, pool: volary.Pool, directory: str) -> Figures:
    """Measure a small and a large one: their difference is what an extent costs, without what a
    job costs once.
    """
    path = os.path.join(directory, "volume")
    sizes = (4 << 30, bench.affordable(2 * (24 << 30)) // 2 // FALLOCATE_EXTENT * FALLOCATE_EXTENT)
    found: list[tuple[float, float]] = []
    rows = []
    for size in sizes:
        ours, theirs = _in_turns(
            bench,
            f"fallocated {volary.format_size(size)}",
            # A few milliseconds that scatter by as much: only many rounds tell.
            rounds=21 if bench.quick else 101,
            settle=0.02,
            ours=partial(_create, pool, size, "falloc"),
            theirs=partial(_reserve, directory, size),
            delete=lambda: _delete(pool, path),
        )
        here, there = summarise(ours), summarise(theirs)
        found.append((here.median, there.median))
        rows += [
            (f"{name}, {volary.format_size(size)}", ms(s.median), ms(s.smallest), ms(s.p99))
            for name, s in (("Volary, with progress", here), ("bare system calls", there))
        ]
        ratio = here.median / there.median
        rows.append(
            ("  ratio of times", f"{ratio:.3f}", f"{here.smallest / there.smallest:.3f}", "")
        )
    (here_small, there_small), (here_large, there_large) = found
    extents = (sizes[1] - sizes[0]) // FALLOCATE_EXTENT
    here_each, there_each = (
        (here_large - here_small) / extents,
        (there_large - there_small) / extents,
    )
    rows += [
        ("Volary, each further extent", ms(here_each), "", ""),
        ("bare system calls, each further extent", ms(there_each), "", ""),
        ("  ratio of times", f"{here_each / there_each:.3f}", "", ""),
    ]
    print_table(
        f"Fallocated in extents of {volary.format_size(FALLOCATE_EXTENT)}, durable, "
        f"{len(ours)} rounds",
        ("", "median ms", "min ms", "p99 ms"),
        rows,
    )
    ratio = here_small / there_small
    print_wanted(
        f"ratio at 4 GiB <= {_WANTED_RESERVED}", f"{ratio:.3f}", met=ratio <= _WANTED_RESERVED
    )
    return {
        "fallocated_s": here_small,
        "bare_fallocated_s": there_small,
        "fallocated_time_ratio": ratio,
        "fallocated_extent_s": here_each,
        "bare_fallocated_extent_s": there_each,
    }


def _in_turns(
    bench: Bench,
    what: str,
    *,
    rounds: int,
    settle: float,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    delete: Callable[[], object],
) -> tuple[list[float], list[float]]:
    """Return the seconds of both, measured in turns: A B, B A, A B, ...

    What both wrote is deleted after each round: to free a written GiB takes the disk a while
    (discard), and that must not fall into the time of one of the two; hence `settle`, too, the
    seconds of rest after it.
    """
    taken: tuple[list[float], list[float]] = ([], [])
    both = ((ours, taken[0]), (theirs, taken[1]))
    for number in range(rounds):
        if number % 20 == 0 or rounds < 20:
            bench.say(f"{what}, round {number + 1} of {rounds}")
        for way, seconds in both if number % 2 == 0 else reversed(both):
            seconds.append(way())
        delete()
        os.sync()
        time.sleep(settle)
    return taken


def _delete(pool: volary.Pool, path: str) -> None:
    pool.volume("volume").delete()
    os.unlink(path)


def _create(pool: volary.Pool, size: int, how: Preallocation) -> float:
    told: list[volary.Progress] = []
    spec = volary.VolumeSpec("volume", capacity=size, preallocation=how)
    began = time.perf_counter()
    pool.create_volume(spec, on_progress=told.append)
    seconds = time.perf_counter() - began
    assert told[-1].done == size
    return seconds


def _reserve(directory: str, size: int) -> float:
    """Do what an allocation comes to, without progress."""
    dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        began = time.perf_counter()
        fd = bare.open_unnamed(dir_fd)
        try:
            bare.reserve(fd, size, FALLOCATE_EXTENT)
            os.fsync(fd)
            bare.give_name(fd, dir_fd, "volume")
            bare.sync_name(fd, dir_fd)
        finally:
            os.close(fd)
        return time.perf_counter() - began
    finally:
        os.close(dir_fd)
