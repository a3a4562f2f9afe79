"""How far an operation is."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

from volary.engine.linux import finish_writing

T = TypeVar("T")


class Done(NamedTuple):
    """What an operation says between two extents, in bytes.

    done: done so far.
    total: to be done in all; 0 when that is not known.
    taken: taken from the file system's free space so far, of what the pool promised.
    """

    done: int = 0
    total: int = 0
    taken: int = 0


class Sync(NamedTuple):
    """What an operation says before it goes on only when `fd` is on disk.

    Whoever drives it calls `perform`, and throws into the operation what that returns: so that
    operations that wait for the same descriptor can share one fsync(2).
    """

    fd: int

    def perform(self) -> OSError | None:
        """Sync, and return what went wrong."""
        try:
            os.fsync(self.fd)
        except OSError as error:
            return error
        return None


class WriteOut(Sync):
    """What an operation says before it goes on only when what was written to `fd` is on the
    device, in whose cache it may be: a later `Sync` of another descriptor puts it on disk, with
    the metadata that it needs, where the file system keeps that order.
    """

    __slots__ = ()

    def perform(self) -> OSError | None:
        """Wait for it, and return what went wrong."""
        try:
            finish_writing(self.fd)
        except OSError as error:
            return error
        return None


class Need(NamedTuple):
    """What an operation says when it has found out how many bytes of space it takes in all.

    Whoever drives it has them promised, or throws into the operation what keeps them from being.
    """

    size: int


Operation: TypeAlias = Generator[Done | Sync | Need, None, T]
"""A long piece of work: does one extent, yields how far it is, does the next; returns its result.
Closing it early undoes the work."""


def go_on(work: Operation[T], failure: Exception | None) -> Done | Sync | Need:
    """Have an operation go on with what it asked for, or with what kept it from that; return what
    it says next.
    """
    return next(work) if failure is None else work.throw(failure)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: `done` and `total` in bytes, `rate` in bytes a second over the last few
    seconds, `eta` in seconds, or None while it cannot be told.

    A job whose extent is not known beforehand has a `total` of 0.
    """

    done: int = 0
    total: int = 0
    rate: float = 0.0
    eta: float | None = None

    @property
    def fraction(self) -> float:
        """The part that is done, from 0 to 1."""
        return self.done / self.total if self.total else 0.0


class RateMeter:
    """Turns points in time and bytes into a rate over a sliding window."""

    WINDOW = 3.0
    """Seconds that the rate is averaged over: long enough not to jump with each extent."""

    def __init__(self, now: float) -> None:
        self._points: deque[tuple[float, int]] = deque([(now, 0)])

    def progress(self, at: Done, now: float) -> Progress:
        """Return the progress at `now` (monotonic seconds)."""
        points = self._points
        points.append((now, at.done))
        # The window's first point stays until a later one is old enough to take its place.
        while len(points) > 2 and points[1][0] <= now - self.WINDOW:  # noqa: PLR2004
            points.popleft()
        first_time, first_done = points[0]
        elapsed = now - first_time
        rate = max(0, at.done - first_done) / elapsed if elapsed > 0 else 0.0
        left = at.total - at.done
        eta = 0.0 if left <= 0 else left / rate if rate > 0 else None
        return Progress(at.done, at.total, rate, eta)
