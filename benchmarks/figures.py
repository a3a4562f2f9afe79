"""Statistics, and how they are printed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """What a series of measurements comes to.

    spread: the distance from the smallest to the largest, as a part of the median.
    """

    count: int
    median: float
    p99: float
    smallest: float
    largest: float

    @property
    def spread(self) -> float:
        """How far the measurements lie apart: 0.1 is a tenth of the median."""
        return (self.largest - self.smallest) / self.median if self.median else 0.0


def summarise(values: Iterable[float]) -> Summary:
    """Return median, 99th percentile and extremes; there must be a value."""
    ordered = sorted(values)
    # The nearest rank: a value that was measured, not one between two.
    rank = math.ceil(0.99 * len(ordered)) - 1
    return Summary(
        len(ordered), statistics.median(ordered), ordered[rank], ordered[0], ordered[-1]
    )


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the others to the right."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    print(f"\n{title}")
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells).rstrip(), flush=True)


def print_wanted(what: str, found: str, *, met: bool) -> None:
    """Print whether what was promised is so."""
    print(f"  wanted: {what}; found {found}: {'met' if met else 'NOT MET'}", flush=True)


def ms(seconds: float) -> str:
    """Return milliseconds."""
    return f"{seconds * 1e3:.3f}"


def us(seconds: float) -> str:
    """Return microseconds."""
    return f"{seconds * 1e6:.1f}"


def percent(part: float) -> str:
    """Return percent."""
    return f"{part * 100:.0f}%"
