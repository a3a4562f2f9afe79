"""Creating many volumes, one way after the other, again and again."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import volary
from benchmarks.figures import Summary, percent, print_table, summarise, us
from benchmarks.runner import Bench, Figures

CAPACITY = 1 << 30


@dataclass(frozen=True, slots=True)
class Way:
    """A way to create volumes.

    count: how many in a run.
    create: does so in a directory that its first argument is the name of; returns the seconds.
    """

    count: int
    create: Callable[[str, int], float]


def alternate(bench: Bench, ways: Mapping[str, Way], rounds: int) -> dict[str, Summary]:
    """Return the rates of all ways, which take turns, so that what the machine does meanwhile hits
    all of them.

    Each run has a fresh directory, and nothing is deleted before the very end: what
    `benchmarks.runner._spread` says of deleted inodes would make each run slower than the last.
    """
    rates: dict[str, list[float]] = {name: [] for name in ways}
    numbers = itertools.count()
    for way in ways.values():  # threads started, code loaded, connections opened
        way.create(f"run-{next(numbers)}", way.count // 5)
    for number in range(rounds):
        bench.say(f"round {number + 1} of {rounds}")
        for name, way in ways.items():
            rates[name].append(way.count / way.create(f"run-{next(numbers)}", way.count))
    return {name: summarise(values) for name, values in rates.items()}


def blocking(pool: volary.Pool, count: int, format_: str) -> float:
    """Create `count` volumes one after the other; return the seconds it took."""
    began = time.perf_counter()
    for number in range(count):
        pool.create_volume(volary.VolumeSpec(f"v{number}", capacity=CAPACITY, format=format_))
    return time.perf_counter() - began


def in_flight(pool: volary.Pool, count: int, format_: str, *, width: int) -> float:
    """Create `count` volumes, `width` of them at a time; return the seconds it took."""
    window: deque[volary.Job[volary.Volume]] = deque()
    began = time.perf_counter()
    for number in range(count):
        if len(window) == width:
            window.popleft().result()
        spec = volary.VolumeSpec(f"v{number}", capacity=CAPACITY, format=format_)
        window.append(pool.create_volume(spec, volary.ASYNC))
    for job in window:
        job.result()
    return time.perf_counter() - began


def print_rates(what: str, rates: Mapping[str, Summary]) -> Figures:
    """Print the rates of all ways, and return them as figures."""
    rounds = next(iter(rates.values())).count
    print_table(
        f"{what}: volumes a second, median of {rounds} alternating rounds",
        ("", "a second", "best", "us each", "spread"),
        [
            (
                name,
                f"{rate.median:,.0f}",
                f"{rate.largest:,.0f}",
                us(1 / rate.median),
                percent(rate.spread),
            )
            for name, rate in rates.items()
        ],
    )
    return {
        f"{name.replace(',', '').replace(' ', '_').lower()}_per_s": rate.median
        for name, rate in rates.items()
    }
