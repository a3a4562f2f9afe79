"""Where a file has data, and where it has none."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from volary.engine.progress import Done, Operation

_COUNT_BATCH = 1000
"""Runs counted between two yields: some milliseconds, where they are many and small."""


class Stretch(NamedTuple):
    """A part of a file that is all data or all hole, from `begin` to `end` in bytes."""

    begin: int
    end: int
    is_data: bool


def data_runs(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where each run of data from `start` to `end` begins and ends: SEEK_DATA and SEEK_HOLE
    of lseek(2).

    Between them are holes, and extents that are reserved and were never written: both read as
    zeros. Where the file system cannot tell, all is one run. Moves the descriptor's position.
    """
    position = start
    while position < end:
        try:
            begin = os.lseek(fd, position, os.SEEK_DATA)
            # There is a hole at the end of every file.
            position = os.lseek(fd, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from there on
                return
            if error.errno != errno.EINVAL:
                raise
            begin, position = position, end  # a block device
        if begin < end:
            yield begin, min(position, end)


def stretches(fd: int, start: int, end: int) -> Iterator[Stretch]:
    """Yield what lies from `start` to `end`, data and holes in turns; as `data_runs` does."""
    return with_holes(data_runs(fd, start, end), start, end)


def with_holes(runs: Iterable[tuple[int, int]], start: int, end: int) -> Iterator[Stretch]:
    """Yield these runs of data and the holes between them, from `start` to `end`."""
    position = start
    for begin, stop in runs:
        if position < begin:
            yield Stretch(position, begin, is_data=False)
        yield Stretch(begin, stop, is_data=True)
        position = stop
    if position < end:
        yield Stretch(position, end, is_data=False)


def count_data(fd: int, start: int, end: int) -> Operation[int]:
    """Return how many bytes of data there are from `start` to `end`."""
    total = 0
    for number, (begin, stop) in enumerate(data_runs(fd, start, end)):
        if number % _COUNT_BATCH == 0:
            yield Done()
        total += stop - begin
    return total
