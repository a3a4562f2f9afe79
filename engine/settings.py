"""What an engine can be told about itself."""

from __future__ import annotations

from dataclasses import dataclass

from volary.engine.errors import InvalidSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Bounds of one engine.

    allocators_per_pool: jobs that write or allocate extents at the same time in one pool; the
        rest wait in order.
    deletions_per_pool: volumes that are deleted at the same time in one pool.
    transfers_per_pool: uploads and downloads at the same time in one pool.
    finished_jobs_per_pool: finished jobs that a pool remembers for `jobs()`.
    progress_interval: seconds between two words of a job's progress, at the least.
    """

    allocators_per_pool: int = 8
    deletions_per_pool: int = 8
    transfers_per_pool: int = 32
    finished_jobs_per_pool: int = 256
    progress_interval: float = 0.05

    def __post_init__(self) -> None:
        lanes = ("allocators_per_pool", "deletions_per_pool", "transfers_per_pool")
        for name in (*lanes, "finished_jobs_per_pool"):
            if type(getattr(self, name)) is not int:  # a bool is none, though Python has it so
                raise InvalidSpec(
                    f"{name}: {getattr(self, name)!r} is no whole number; give an int"
                )
        for name in lanes:
            if getattr(self, name) < 1:
                raise InvalidSpec(f"{name}: {getattr(self, name)}; at least 1 is needed")
        if self.finished_jobs_per_pool < 0:
            raise InvalidSpec(f"finished_jobs_per_pool: {self.finished_jobs_per_pool} is negative")
        if type(self.progress_interval) not in (int, float):
            raise InvalidSpec(
                f"progress_interval: {self.progress_interval!r} is no number; give seconds"
            )
        if not self.progress_interval > 0:
            raise InvalidSpec(f"progress_interval: {self.progress_interval}; give seconds above 0")
