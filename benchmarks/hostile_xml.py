"""Documents that are meant to hurt: how long each takes, and what memory it needs."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from tests.engine.hostile_xml import READ, REFUSED

from benchmarks.figures import Summary, ms, print_table, print_wanted, summarise
from benchmarks.runner import Bench, Figures
from volary.engine.errors import InvalidDocument
from volary.engine.pool_document import read_pool_document

_WANTED = 0.1
_WANTED_LEFT = 2 << 20


@dataclass(frozen=True)
class _Cost:
    """What a document costs.

    peak: bytes of memory that the process had at the most, more than before.
    left: bytes that it has more after as many rounds again: what is lost with each.
    """

    taken: Summary
    peak: int
    left: int


def run(bench: Bench) -> Figures:
    """Read each document some times; those that are to be refused have to be."""
    rounds = 5 if bench.quick else 50
    bench.say(f"{len(REFUSED) + len(READ)} documents, twice {rounds} times each")
    costs = {
        name: _cost(document, rounds, refused=name in REFUSED)
        for name, document in (REFUSED | READ).items()
    }
    for title, names in (("refused", REFUSED), ("read", READ)):
        print_table(
            f"Hostile documents that are {title}, twice {rounds} times each",
            ("document", "median ms", "slowest ms", "peak KiB", "left KiB"),
            [_row(name, costs[name]) for name in names],
        )
    slowest = max(cost.taken.largest for cost in costs.values())
    left = sum(cost.left for cost in costs.values())
    print_wanted(
        f"each within {ms(_WANTED)} ms", f"{ms(slowest)} ms at the most", met=slowest < _WANTED
    )
    print_wanted(
        f"at most {_WANTED_LEFT >> 10} KiB left after all of them",
        f"{left >> 10} KiB",
        met=left <= _WANTED_LEFT,
    )
    return {
        "hostile_xml_slowest_s": slowest,
        "hostile_xml_peak_bytes": float(max(cost.peak for cost in costs.values())),
        "hostile_xml_left_bytes": float(left),
    }


def _row(name: str, cost: _Cost) -> tuple[str, ...]:
    taken = cost.taken
    return (name, ms(taken.median), ms(taken.largest), str(cost.peak >> 10), str(cost.left >> 10))


def _cost(document: str | bytes, rounds: int, *, refused: bool) -> _Cost:
    assert _is_refused(document) == refused
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # sets the peak back, see proc(5)
    before = _memory("VmRSS")
    taken = _times(document, rounds)
    peak = _memory("VmHWM")
    between = _memory("VmRSS")
    taken += _times(document, rounds)
    left = max(0, _memory("VmRSS") - between)
    return _Cost(summarise(taken), max(0, peak - before), left)


def _times(document: str | bytes, rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        _is_refused(document)
        taken.append(time.perf_counter() - began)
    return taken


def _is_refused(document: str | bytes) -> bool:
    try:
        read_pool_document(document)
    except InvalidDocument:
        return True
    return False


def _memory(what: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        found = re.search(rf"^{what}:\s*([0-9]+) kB", file.read(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10
