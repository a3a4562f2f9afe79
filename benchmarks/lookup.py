"""Look-ups from another thread, idle and while eight fully written allocations run."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence

import volary
from benchmarks.figures import Summary, ms, print_table, print_wanted, summarise
from benchmarks.runner import Bench, Figures

ALLOCATIONS = 8
_VOLUMES = 100
_PACE = 0.001
_SLICE = 0.2
_WANTED = 0.001


def run(bench: Bench) -> Figures:
    """Look up for some seconds in an idle pool, then in the same pool while it allocates."""
    idle_for = 1.0 if bench.quick else 4.0
    size = bench.affordable((256 << 20 if bench.quick else 2 << 30) * ALLOCATIONS) // ALLOCATIONS
    size -= size % (1 << 20)
    with bench.connection() as connection:
        pool = bench.pool(connection, "pool")
        for number in range(_VOLUMES):
            pool.create_volume(volary.VolumeSpec(f"v{number}", capacity=1 << 30))
        bench.say(f"idle, {idle_for:.0f} s")
        idle = _LookUps(pool)
        time.sleep(idle_for)
        before = idle.finish()
        bench.say(f"while {ALLOCATIONS} allocations of {volary.format_size(size)} run")
        during, others = _while_allocating(pool, size)
        for number in range(ALLOCATIONS):
            pool.volume(f"big{number}").delete()
    return _report(size, before, during, others)


class _LookUps:
    """A thread that looks up, each way for a while in turn, until it is told to finish."""

    def __init__(self, pool: volary.Pool) -> None:
        self._pool = pool
        self._names = [f"v{number}" for number in range(_VOLUMES)]
        self._taken: dict[str, list[float]] = {}
        self._done = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end."""
        self._done.set()

    def finish(self) -> dict[str, Summary]:
        """End the thread, and return the seconds that each way took."""
        self.stop()
        self._thread.join()
        if self._error is not None:
            raise self._error
        return {way: summarise(taken) for way, taken in self._taken.items()}

    def _run(self) -> None:
        try:
            while not self._done.is_set():
                self._slice("volume(name), back to back", self._volume, 0)
                self._slice("volume(name), one a ms", self._volume, _PACE)
                self._slice("volumes(), back to back", self._volumes, 0)
                self._slice("volumes(), one a ms", self._volumes, _PACE)
        except Exception as error:  # noqa: BLE001 - raised by finish()
            self._error = error

    def _volume(self, number: int) -> None:
        name = self._names[number % _VOLUMES]
        assert self._pool.volume(name).name == name

    def _volumes(self, _: int) -> None:
        assert len(self._pool.volumes()) >= _VOLUMES

    def _slice(self, way: str, look_up: Callable[[int], None], pace: float) -> None:
        taken = self._taken.setdefault(way, [])
        end = time.perf_counter() + _SLICE
        number = 0
        while (began := time.perf_counter()) < end and not self._done.is_set():
            look_up(number)
            now = time.perf_counter()
            taken.append(now - began)
            number += 1
            if pace > now - began:
                time.sleep(pace - (now - began))


def _while_allocating(
    pool: volary.Pool, size: int
) -> tuple[dict[str, Summary], dict[str, Summary]]:
    """Return what look-ups took, and what refresh, creation and info took at the same time."""
    jobs = [
        pool.create_volume(
            volary.VolumeSpec(f"big{number}", capacity=size, preallocation="full"), volary.ASYNC
        )
        for number in range(ALLOCATIONS)
    ]
    # Not from the first moment: until all have begun, there is less to disturb a look-up.
    while not all(job.running() or job.done() for job in jobs):
        time.sleep(0.001)
    look_ups = _LookUps(pool)
    for job in jobs:
        job.add_done_callback(lambda _: look_ups.stop())
    others: dict[str, list[float]] = {}
    names = (f"more{number}" for number in itertools.count())
    actions: tuple[tuple[str, Callable[[], object]], ...] = (
        ("refresh()", pool.refresh),
        (
            "create_volume(sparse)",
            lambda: pool.create_volume(volary.VolumeSpec(next(names), capacity="1 GiB")),
        ),
        ("info()", pool.info),
        ("volume.info()", pool.volume("v0").info),
    )
    while not any(job.done() for job in jobs):
        for name, action in actions:
            began = time.perf_counter()
            action()
            others.setdefault(name, []).append(time.perf_counter() - began)
            time.sleep(0.05)
    during = look_ups.finish()
    for job in jobs:
        job.result()
    return during, {name: summarise(taken) for name, taken in others.items()}


def _report(
    size: int, before: dict[str, Summary], during: dict[str, Summary], others: dict[str, Summary]
) -> Figures:
    def row(when: str, way: str, found: Summary) -> Sequence[str]:
        return (
            f"{way}, {when}",
            f"{found.count:,}",
            ms(found.median),
            ms(found.p99),
            ms(found.largest),
        )

    head = ("", "count", "p50 ms", "p99 ms", "max ms")
    print_table(
        f"Look-ups in a pool of {_VOLUMES} volumes, idle and while {ALLOCATIONS} fully written "
        f"allocations of {volary.format_size(size)} run",
        head,
        [
            row(when, way, found[way])
            for way in before
            for when, found in (("idle", before), ("busy", during))
            if way in found
        ],
    )
    print_table("Meanwhile", head, [row("busy", name, found) for name, found in others.items()])
    worst = max(found.p99 for found in during.values())
    print_wanted("p99 of look-ups under 1 ms while busy", f"{ms(worst)} ms", met=worst < _WANTED)
    return {
        f"{when}.{way.replace(',', '').replace(' ', '_')}.{part}_s": value
        for when, found in (("idle", before), ("busy", during), ("busy", others))
        for way, summary in found.items()
        for part, value in (("p50", summary.median), ("p99", summary.p99))
    }
