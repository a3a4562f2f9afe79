"""What a pool is defined as: now, and from its next start on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from volary.engine.pool_spec import PoolSpec


@dataclass(frozen=True, slots=True)
class PoolDefinition:
    """What a pool is defined as.

    current: what an active pool was started from, and an inactive one would be.
    stored: what is on disk, and becomes the current one when the pool stops; None for a transient
        pool.
    autostart: whether the pool is started with the engine.
    """

    current: PoolSpec
    stored: PoolSpec | None = None
    autostart: bool = False

    @property
    def is_persistent(self) -> bool:
        """Whether it outlives a stop."""
        return self.stored is not None

    @property
    def next(self) -> PoolSpec:
        """What the pool would be started from if it was stopped now."""
        return self.stored or self.current

    def specs(self) -> tuple[PoolSpec, ...]:
        """Return all that no other pool may be like."""
        if self.stored is None or self.stored is self.current:
            return (self.current,)
        return (self.current, self.stored)

    def at_rest(self) -> PoolDefinition:
        """Return what is left of it when the pool has stopped."""
        return replace(self, current=self.next)
