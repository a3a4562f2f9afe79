"""Sparse raw volumes, durable, a second: blocking, 16 in flight, and where the time goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from statistics import fmean
from typing import Any

import pykka

import volary
from benchmarks import bare, libvirt_daemon
from benchmarks.creating import CAPACITY, Way, alternate, blocking, in_flight, print_rates
from benchmarks.figures import Summary, percent, print_table, print_wanted, us
from benchmarks.runner import Bench, Figures

IN_FLIGHT = 16
_WANTED_BLOCKING = 2400
_WANTED_IN_FLIGHT = 4000

_HAND_OVERS = 3
"""Times that a blocking creation goes from one thread to another before its caller goes on:
to the pool's actor, to the allocator, back to the caller."""

_PAUSE = 150e-6
"""Seconds that a thread waits for the disk in a creation, about."""


def run(bench: Bench) -> Figures:
    """Alternate between all ways to create, and take a blocking creation to pieces."""
    count, rounds = (300, 2) if bench.quick else (2000, 5)
    with libvirt_daemon.reach(bench) as peer, bench.connection() as connection:
        ways = {
            "bare system calls, 1 thread": lambda name, count: bare.create(
                bench.fresh(name), count, CAPACITY
            ),
            "Volary, blocking": lambda name, count: blocking(
                bench.pool(connection, name), count, "raw"
            ),
            "Volary, 16 in flight": lambda name, count: in_flight(
                bench.pool(connection, name), count, "raw", width=IN_FLIGHT
            ),
        }
        if peer is not None:
            reached = peer
            ways |= {
                "libvirt, blocking": lambda name, count: reached.create(
                    bench.fresh(name), count, CAPACITY, format_="raw", threads=1
                ),
                "libvirt, 16 threads": lambda name, count: reached.create(
                    bench.fresh(name), count, CAPACITY, format_="raw", threads=IN_FLIGHT
                ),
            }
        rates = alternate(bench, {name: Way(count, way) for name, way in ways.items()}, rounds)
        figures = _report(rates)
        calls = bare.time_each_call(bench.fresh("calls"), count, CAPACITY)
    _break_down(bench, calls, rates, figures)
    return figures


def _report(rates: dict[str, Summary]) -> Figures:
    figures = print_rates("Sparse raw creation, durable", rates)
    one, many = rates["Volary, blocking"].median, rates["Volary, 16 in flight"].median
    print_wanted(
        f">= {_WANTED_BLOCKING:,} a second blocking", f"{one:,.0f}", met=one >= _WANTED_BLOCKING
    )
    print_wanted(
        f">= {_WANTED_IN_FLIGHT:,} a second with 16 in flight",
        f"{many:,.0f}",
        met=many >= _WANTED_IN_FLIGHT,
    )
    return figures


# Where the time goes.


class _Echo(pykka.ThreadingActor):
    """The least that an actor can do."""

    def on_receive(self, message: Any) -> Any:
        """Return the message."""
        return message


def _break_down(
    bench: Bench, calls: dict[str, list[float]], rates: dict[str, Summary], figures: Figures
) -> None:
    bench.say("where the time goes")
    count = 300 if bench.quick else 2000
    by_call = {name: fmean(seconds) for name, seconds in calls.items()}
    system = 1 / rates["bare system calls, 1 thread"].median
    hand_over = _hand_over(count, pause=_PAUSE)
    at_once = _hand_over(count, pause=0)
    spec = _spec(count)
    total = 1 / rates["Volary, blocking"].median
    rest = total - system - _HAND_OVERS * hand_over - spec
    ask, start_stop = _pykka_ask(count), _pykka_start_stop(count // 4)
    print_table(
        "Where a blocking creation's time goes (means)",
        ("", "us", "part"),
        [
            (name, us(seconds), percent(seconds / total))
            for name, seconds in (
                ("bare system calls", system),
                *((f"  {call}", seconds) for call, seconds in by_call.items()),
                (f"{_HAND_OVERS} hand-overs between threads", _HAND_OVERS * hand_over),
                ("VolumeSpec", spec),
                ("the rest: actors, job, log, interpreter lock", rest),
                ("all", total),
            )
        ],
    )
    print_table(
        "For comparison (means)",
        ("", "us"),
        [
            ("hand-over between two threads, SimpleQueue, at once", us(at_once)),
            (f"  after {us(_PAUSE)} us, as counted above", us(hand_over)),
            ("bare Pykka ask, round trip", us(ask)),
            ("bare Pykka actor, start and stop", us(start_stop)),
        ],
    )
    figures |= {
        "hand_over_s": hand_over,
        "system_calls_s": system,
        "rest_s": rest,
        "pykka_ask_s": ask,
        "pykka_start_stop_s": start_stop,
    }


def _time(call: Callable[[], object], count: int) -> float:
    """Return the mean, since means can be added up."""
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count


def _spec(count: int) -> float:
    return _time(lambda: volary.VolumeSpec("volume", capacity=CAPACITY), count)


def _hand_over(count: int, *, pause: float) -> float:
    """Return half of a round trip between two threads, each `pause` seconds after the last.

    Without a pause the other thread's processor is still awake; a creation's threads have waited
    for the disk meanwhile.
    """
    there: SimpleQueue[str] = SimpleQueue()
    back: SimpleQueue[str] = SimpleQueue()

    def echo() -> None:
        while there.get():
            back.put("ball")

    thread = threading.Thread(target=echo)
    thread.start()

    taken = 0.0
    try:
        for _ in range(count):
            if pause:
                time.sleep(pause)
            began = time.perf_counter()
            there.put("ball")
            back.get()
            taken += time.perf_counter() - began
        return taken / count / 2
    finally:
        there.put("")
        thread.join()


def _pykka_ask(count: int) -> float:
    actor = _Echo.start()
    try:
        return _time(lambda: actor.ask(None), count)
    finally:
        actor.stop()


def _pykka_start_stop(count: int) -> float:
    return _time(lambda: _Echo.start().stop(), count)
