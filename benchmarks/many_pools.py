"""A thousand pools in one engine, and a pool of a hundred thousand volumes: time and memory."""

from __future__ import annotations

import gc
import os
import random
import threading
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

import psutil

import volary
from benchmarks.children import in_child
from benchmarks.figures import Summary, ms, print_table, summarise
from benchmarks.runner import Bench, Figures

_SEED = 6
_LOOK_UPS = 5000


def run(bench: Bench) -> Figures:
    """Measure both in children, whose memory holds nothing else."""
    return _many_pools(bench) | _many_volumes(bench)


def _make_files(directory: str, count: int) -> None:
    dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number in range(count):
            fd = os.open(f"v{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=dir_fd)
            os.ftruncate(fd, 1 << 30)
            os.close(fd)
    finally:
        os.close(dir_fd)


def _memory() -> int:
    """Return the bytes that this process has in memory."""
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _look_ups(action: Callable[[int], object], numbers: int) -> Summary:
    """Return the seconds that `action` takes with random numbers below `numbers`."""
    chosen = random.Random(_SEED)
    return summarise(_timed(partial(action, chosen.randrange(numbers))) for _ in range(_LOOK_UPS))


# Pools.


def _many_pools(bench: Bench) -> Figures:
    pools, volumes = (100, 20) if bench.quick else (1000, 100)
    state = bench.fresh("state")
    targets = bench.fresh("targets")
    bench.say(f"making {pools:,} pools of {volumes} volumes")
    in_child(_define, state, targets, pools, volumes)
    bench.say("opening them")
    found = in_child(_open, state, pools, volumes)
    print_table(
        f"{pools:,} autostarted pools with {volumes} volumes each, in one engine",
        ("", ""),
        [
            ("volary.open(), s", f"{found['pools.open_s']:.3f}"),
            ("threads before, open, closed", "{:.0f}, {:.0f}, {:.0f}".format(*_threads(found))),
            ("memory before, MB", f"{found['pools.before_bytes'] / 1e6:.1f}"),
            ("memory open, MB", f"{found['pools.open_bytes'] / 1e6:.1f}"),
            ("KB a pool", f"{found['pools.per_pool_bytes'] / 1e3:.1f}"),
            ("conn.pool(name), p50 and p99 ms", _pair(found, "pools.pool")),
            ("pool.volume(name), p50 and p99 ms", _pair(found, "pools.volume")),
            ("conn.pools(), ms", ms(found["pools.list_s"])),
            ("close(), s", f"{found['pools.close_s']:.3f}"),
        ],
    )
    return found


def _threads(found: Figures) -> list[float]:
    return [found[f"pools.threads_{when}"] for when in ("before", "open", "closed")]


def _pair(found: Figures, what: str) -> str:
    return f"{ms(found[f'{what}_p50_s'])}, {ms(found[f'{what}_p99_s'])}"


def _define(state: str, targets: str, pools: int, volumes: int) -> None:
    with volary.open(state_dir=state) as connection:
        for number in range(pools):
            target = os.path.join(targets, f"p{number}")
            os.mkdir(target)
            _make_files(target, volumes)
            pool = connection.define_pool(volary.PoolSpec(f"p{number}", type="dir", target=target))
            pool.autostart = True


def _open(state: str, pools: int, volumes: int) -> Figures:
    process = psutil.Process()
    before, threads_before = _memory(), process.num_threads()
    began = time.perf_counter()
    connection = volary.open(state_dir=state)
    opened = time.perf_counter() - began
    try:
        threads_open, after = process.num_threads(), _memory()
        everyone = connection.pools()
        assert len(everyone) == pools
        assert all(len(pool.volumes()) == volumes for pool in everyone)
        found = _look_ups(lambda number: connection.pool(f"p{number}"), pools)
        volume = _look_ups(lambda number: everyone[number].volume("v7"), pools)
        listing = _timed(connection.pools)
    finally:
        closing = _timed(connection.close)
    assert threading.active_count() == 1
    return {
        "pools.open_s": opened,
        "pools.threads_before": threads_before,
        "pools.threads_open": threads_open,
        "pools.threads_closed": process.num_threads(),
        "pools.before_bytes": before,
        "pools.open_bytes": after,
        "pools.per_pool_bytes": (after - before) / pools,
        "pools.pool_p50_s": found.median,
        "pools.pool_p99_s": found.p99,
        "pools.volume_p50_s": volume.median,
        "pools.volume_p99_s": volume.p99,
        "pools.list_s": listing,
        "pools.close_s": closing,
    }


# Volumes.


def _many_volumes(bench: Bench) -> Figures:
    count = 10_000 if bench.quick else 100_000
    target = bench.fresh("large")
    bench.say(f"making a pool of {count:,} volumes")
    _make_files(target, count)
    bench.say("using it")
    found = in_child(_use, bench.fresh("state"), target, count)
    found |= in_child(_trace, bench.fresh("state"), target, count)
    print_table(
        f"A pool of {count:,} volumes",
        ("", ""),
        [
            ("start, s", f"{found['volumes.start_s']:.3f}"),
            ("refresh(), s", f"{found['volumes.refresh_s']:.3f}"),
            ("volumes(), ms", ms(found["volumes.volumes_s"])),
            ("volume_infos(), ms", ms(found["volumes.infos_s"])),
            ("volume(name), p50 and p99 ms", _pair(found, "volumes.volume")),
            (
                "volume(name) during a refresh, p50 and p99 ms",
                _pair(found, "volumes.volume_refreshing"),
            ),
            ("bytes a volume, of resident memory", f"{found['volumes.resident_bytes']:,.0f}"),
            ("bytes a volume, by tracemalloc", f"{found['volumes.traced_bytes']:,.0f}"),
            ("  the most while it started", f"{found['volumes.traced_peak_bytes']:,.0f}"),
        ],
    )
    return found


def _use(state: str, target: str, count: int) -> Figures:
    spec = volary.PoolSpec("large", type="dir", target=target)
    with volary.open(state_dir=state) as connection:
        before = _memory()
        began = time.perf_counter()
        pool = connection.create_pool(spec)
        start = time.perf_counter() - began
        resident = (_memory() - before) / count
        assert len(pool.volume_infos()) == count
        found = _look_ups(lambda number: pool.volume(f"v{number}"), count)
        listing = summarise(_timed(pool.volumes) for _ in range(5)).median
        infos = summarise(_timed(pool.volume_infos) for _ in range(5)).median
        refresh = summarise(_timed(pool.refresh) for _ in range(3)).median
        job = pool.refresh(volary.ASYNC)
        meanwhile: list[float] = []
        while not job.done():
            meanwhile.append(_timed(lambda: pool.volume(f"v{len(meanwhile) % count}")))
        job.result()
    busy = summarise(meanwhile)
    return {
        "volumes.start_s": start,
        "volumes.refresh_s": refresh,
        "volumes.volumes_s": listing,
        "volumes.infos_s": infos,
        "volumes.volume_p50_s": found.median,
        "volumes.volume_p99_s": found.p99,
        "volumes.volume_refreshing_p50_s": busy.median,
        "volumes.volume_refreshing_p99_s": busy.p99,
        "volumes.resident_bytes": resident,
    }


def _trace(state: str, target: str, count: int) -> Figures:
    """Tracing slows everything down, so this child is for memory alone."""
    spec = volary.PoolSpec("large", type="dir", target=target)
    with volary.open(state_dir=state) as connection:
        tracemalloc.start()
        connection.create_pool(spec)
        gc.collect()
        traced, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return {"volumes.traced_bytes": traced / count, "volumes.traced_peak_bytes": peak / count}
