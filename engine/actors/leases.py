"""Who reads and who writes which volume of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from volary.engine.actors.job import Job
from volary.engine.errors import VolumeBusy


class Leases:
    """Readers share a volume, a writer is alone.

    A lease lives no longer than its job: one of a job that is over counts for nothing, so that
    none is left behind by whatever crashed, here or in the pool of the job.

    pool: the pool's name.
    readers: the read leases of a pool's actor that crashed, by volume's name.
    """

    def __init__(self, pool: str, readers: Mapping[str, tuple[Job[Any], ...]]) -> None:
        self._pool = pool
        self._readers: dict[str, tuple[Job[Any], ...]] = dict(readers)
        self._writers: dict[str, Job[Any]] = {}

    def read(self, name: str, job: Job[Any]) -> None:
        """Have `job` read the volume until it is over; raises `VolumeBusy`."""
        self.require_unwritten(name)
        self._readers[name] = (*self.readers(name), job)

    def write(self, name: str, job: Job[Any]) -> None:
        """Have `job` alone with the volume until `release`; raises `VolumeBusy`."""
        self.require_unheld(name)
        self._writers[name] = job

    def require_unwritten(self, name: str) -> None:
        """Raise `VolumeBusy` when a job is alone with the volume."""
        writer = self._writers.get(name)
        if writer is not None:
            raise self._busy(name, writer)

    def require_unheld(self, name: str) -> None:
        """Raise `VolumeBusy` when a job reads or writes the volume."""
        self.require_unwritten(name)
        readers = self.readers(name)
        if readers:
            raise self._busy(name, *readers)

    def release(self, name: str) -> None:
        """End the write lease."""
        del self._writers[name]

    def writer(self, name: str) -> Job[Any] | None:
        """Return the job that is alone with the volume, or makes it."""
        return self._writers.get(name)

    def written(self) -> tuple[str, ...]:
        """Return the names of the volumes that jobs are alone with, or make."""
        return tuple(self._writers)

    def readers(self, name: str) -> tuple[Job[Any], ...]:
        """Return the jobs that read the volume."""
        readers = tuple(job for job in self._readers.get(name, ()) if job.ended is None)
        if not readers:
            self._readers.pop(name, None)
        return readers

    def all_readers(self) -> dict[str, tuple[Job[Any], ...]]:
        """Return the jobs that read, by volume's name."""
        return {name: readers for name in tuple(self._readers) if (readers := self.readers(name))}

    def _busy(self, name: str, *holders: Job[Any]) -> VolumeBusy:
        jobs = ", ".join(f"job {job.id} ({job.operation})" for job in holders)
        return VolumeBusy(
            f"volume {name!r} of pool {self._pool!r} is held by {jobs}; "
            f"cancel {'that job' if len(holders) == 1 else 'those jobs'} or wait"
        )
