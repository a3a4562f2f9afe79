"""Sparse qcow2 volumes, durable, a second: blocking, 8 in flight, and where the time goes."""

from __future__ import annotations

import os
from statistics import fmean

import volary
from benchmarks import bare, libvirt_daemon
from benchmarks.creating import CAPACITY, Way, alternate, blocking, in_flight, print_rates
from benchmarks.figures import percent, print_table, print_wanted, us
from benchmarks.runner import Bench, Figures
from volary.engine.formats.data_runs import data_runs

IN_FLIGHT = 8
_WANTED_TIMES = 20

_BARE = "bare system calls, 1 thread"
_BLOCKING = "Volary, blocking"
_PEER = "libvirt, blocking"


def run(bench: Bench) -> Figures:
    """Alternate between all ways to create; libvirt runs a qemu-img for each volume."""
    count, rounds = (200, 2) if bench.quick else (1000, 5)
    with libvirt_daemon.reach(bench) as peer, bench.connection() as connection:
        size, pieces = _content(bench.pool(connection, "sample"))
        ways = {
            _BARE: Way(
                count, lambda name, count: bare.create(bench.fresh(name), count, size, pieces)
            ),
            _BLOCKING: Way(
                count, lambda name, count: blocking(bench.pool(connection, name), count, "qcow2")
            ),
            f"Volary, {IN_FLIGHT} in flight": Way(
                count,
                lambda name, count: in_flight(
                    bench.pool(connection, name), count, "qcow2", width=IN_FLIGHT
                ),
            ),
        }
        if peer is not None:
            reached = peer
            few = count // 10  # a hundred take a second
            ways |= {
                _PEER: Way(
                    few,
                    lambda name, count: reached.create(
                        bench.fresh(name), count, CAPACITY, format_="qcow2", threads=1
                    ),
                ),
                f"libvirt, {IN_FLIGHT} threads": Way(
                    few,
                    lambda name, count: reached.create(
                        bench.fresh(name), count, CAPACITY, format_="qcow2", threads=IN_FLIGHT
                    ),
                ),
            }
        rates = alternate(bench, ways, rounds)
        calls = bare.time_each_call(bench.fresh("calls"), count, size, pieces)
    figures = print_rates("Sparse qcow2 creation, durable", rates)
    if peer is not None:
        times = rates[_BLOCKING].median / rates[_PEER].median
        print_wanted(
            f">= {_WANTED_TIMES} times libvirt's rate, one caller each",
            f"{times:.1f}",
            met=times >= _WANTED_TIMES,
        )
        figures["times_libvirt_ratio"] = times
    total = 1 / rates[_BLOCKING].median
    system = 1 / rates[_BARE].median
    print_table(
        "Where a blocking creation's time goes (means)",
        ("", "us", "part"),
        [
            (name, us(seconds), percent(seconds / total))
            for name, seconds in (
                ("bare system calls", system),
                *((f"  {call}", fmean(taken)) for call, taken in calls.items()),
                ("the rest: hand-overs, actors, job, log, what to write", total - system),
                ("all", total),
            )
        ],
    )
    return figures


def _content(pool: volary.Pool) -> tuple[int, bare.Pieces]:
    """Return how large the file of such a volume is, and what is written to it."""
    volume = pool.create_volume(volary.VolumeSpec("v", capacity=CAPACITY, format="qcow2"))
    with open(volume.path, "rb") as file:
        fd = file.fileno()
        size = os.fstat(fd).st_size
        runs = list(data_runs(fd, 0, size))
        return size, [
            (begin, os.pread(fd, end - begin, begin).rstrip(b"\0")) for begin, end in runs
        ]
