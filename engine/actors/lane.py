"""A bounded number of workers, and the queue of the jobs that wait for one."""

from __future__ import annotations

from collections import OrderedDict


class Lane:
    """Jobs by id, in the order in which they came.

    width: workers at the same time.
    batch: jobs that one worker takes on together, at the most.
    """

    def __init__(self, width: int, *, batch: int = 1) -> None:
        self._free = width
        self._batch = batch
        self._waiting: OrderedDict[int, None] = OrderedDict()

    def enter(self, job_id: int) -> None:
        """Have a job wait."""
        self._waiting[job_id] = None

    def drop(self, job_id: int) -> None:
        """Have a job not wait any more, if it does."""
        self._waiting.pop(job_id, None)

    def take(self) -> list[int]:
        """Return the jobs for one more worker; none if no worker is free or no job waits."""
        if not self._free or not self._waiting:
            return []
        self._free -= 1
        count = min(self._batch, len(self._waiting))
        return [self._waiting.popitem(last=False)[0] for _ in range(count)]

    def leave(self) -> None:
        """Have one more worker free."""
        self._free += 1
