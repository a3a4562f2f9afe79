"""What the pools of an engine have promised to jobs, by file system."""

from __future__ import annotations

from uuid import UUID


class SpaceLedger:
    """Bytes promised, by device and pool: pools on one file system share its free space.

    It is the one thing that pools share, since asking an actor for it would take longer than a
    small reservation. Each pool writes its own entry only, and before it looks at the others': of
    two that promise at the same time at least one sees the other, so that together they never
    promise more than there is. (That both see each other, and both refuse, is possible.)
    """

    def __init__(self) -> None:
        self._promised: dict[int, dict[UUID, int]] = {}

    def promise(self, device: int, pool: UUID, size: int) -> None:
        """Note that `pool` has promised `size` bytes in all."""
        # setdefault, item assignment and pop are atomic, as is list(values) below.
        on_device = self._promised.setdefault(device, {})
        if size:
            on_device[pool] = size
        else:
            on_device.pop(pool, None)

    def promised(self, device: int) -> int:
        """Return how many bytes all pools have promised."""
        return sum(list(self._promised.get(device, {}).values()))
