"""A bounded number of jobs that run, and the queue of those that wait."""

from __future__ import annotations

from collections import OrderedDict


class Lane:
    """Jobs by id: at most `width` run, the rest wait in the order in which they came."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._running: set[int] = set()
        self._waiting: OrderedDict[int, None] = OrderedDict()

    def enter(self, job_id: int) -> bool:
        """Add a job; return whether it may run now."""
        if len(self._running) < self._width:
            self._running.add(job_id)
            return True
        self._waiting[job_id] = None
        return False

    def leave(self, job_id: int) -> int | None:
        """Take a job out; return the one that may run in its place."""
        if job_id not in self._running:
            self._waiting.pop(job_id, None)
            return None
        self._running.remove(job_id)
        if not self._waiting:
            return None
        following, _ = self._waiting.popitem(last=False)
        self._running.add(following)
        return following
