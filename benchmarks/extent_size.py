"""How large an extent should be: written MB/s by size, and how long a cancel waits for one.

This is what `EXTENT` in engine/formats/raw.py was chosen from. A larger extent means fewer system
calls and messages; a smaller one a quicker answer to cancel, pause and a new limit.
"""

from __future__ import annotations

import os
import time

import volary
from benchmarks import bare
from benchmarks.figures import Summary, print_table, summarise
from benchmarks.runner import Bench, Figures
from volary.engine.formats.raw import EXTENT, FALLOCATE_EXTENT

_SIZES = tuple(1 << power for power in range(18, 26))  # 256 KiB to 32 MiB


def run(bench: Bench) -> Figures:
    """Write files of the same size in extents of every size, in turns."""
    rounds = 1 if bench.quick else 4
    size = bench.affordable(256 << 20 if bench.quick else 1 << 30)
    size -= size % _SIZES[-1]
    directory = bench.fresh("files")
    path = os.path.join(directory, "file")
    huge, ordinary = (bare.zeros(_SIZES[-1], huge=huge) for huge in (True, False))
    rates: dict[tuple[str, int], list[float]] = {}
    try:
        for number in range(rounds):
            bench.say(f"round {number + 1} of {rounds}")
            # The sizes go up, then down: a disk that tires does not favour one end.
            for extent in _SIZES if number % 2 == 0 else reversed(_SIZES):
                for name, seconds in (
                    ("huge", _write(path, size, extent, huge)),
                    ("ordinary", _write(path, size, extent, ordinary)),
                    ("dd", bare.dd(path, size, extent)),
                ):
                    rates.setdefault((name, extent), []).append(size / seconds)
                os.unlink(path)
    finally:
        huge.close()
        ordinary.close()
    return _report(size, {key: summarise(values) for key, values in rates.items()})


def _write(path: str, size: int, extent: int, buffer: bare.Buffer) -> float:
    """Write a file as engine/formats/raw.py does, with nothing around it, and remove it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        began = time.perf_counter()
        bare.reserve(fd, size, FALLOCATE_EXTENT)
        bare.write_direct(fd, size, extent, buffer)
        os.fsync(fd)
        return time.perf_counter() - began
    finally:
        os.close(fd)
        os.unlink(path)


def _report(size: int, rates: dict[tuple[str, int], Summary]) -> Figures:
    print_table(
        f"Written MB/s by extent, O_DIRECT, {volary.format_size(size)} and fsync, median of "
        f"{rates['dd', EXTENT].count} rounds",
        ("extent", "huge pages", "ordinary pages", "dd", "ms an extent"),
        [
            (
                volary.format_size(extent) + (" (EXTENT)" if extent == EXTENT else ""),
                *(f"{rates[n, extent].median / 1e6:,.0f}" for n in ("huge", "ordinary", "dd")),
                f"{extent / rates['huge', extent].median * 1e3:.2f}",
            )
            for extent in _SIZES
        ],
    )
    best = max(rates["huge", extent].median for extent in _SIZES)
    chosen = rates["huge", EXTENT].median
    print(f"  the engine's extent reaches {chosen / best:.2f} of the best one's rate")
    return {
        f"{name}.{extent}.bytes_per_s": rate.median for (name, extent), rate in rates.items()
    } | {"chosen_of_best_ratio": chosen / best}
