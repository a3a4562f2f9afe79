"""A volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from volary.api.outcome import outcome
from volary.engine.actors import messages as m
from volary.engine.actors.job import Job
from volary.engine.flags import Async, VolumeDelete, check_flags
from volary.engine.volume_info import VolumeInfo

if TYPE_CHECKING:
    from volary.api.pool import Pool


class Volume:
    """A volume of a pool: a name for it, which stays one when the volume is gone.

    name: its name in the pool.
    key: an opaque string, unique in the world, the same after a restart.
    path: where a hypervisor finds it.
    pool: the pool that it is in.
    """

    __slots__ = ("name", "pool")

    def __init__(self, pool: Pool, name: str) -> None:
        self.pool = pool
        self.name = name

    def __repr__(self) -> str:
        return f"<Volume {self.name!r} of pool {self.pool.name!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Volume) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def key(self) -> str:
        """An opaque string, unique in the world, the same after a restart."""
        return f"{self.pool.uuid}/{self.name}"

    @property
    def path(self) -> str:
        """Where a hypervisor finds it."""
        target = self.pool.target
        return f"{target if target != '/' else ''}/{self.name}"

    def info(self) -> VolumeInfo:
        """Return format and sizes as they are on disk now; raises `VolumeNotFound`."""
        return self.pool.ref.ask(m.InspectVolume(self.name))

    @overload
    def delete(self, flags: Async) -> Job[None]: ...
    @overload
    def delete(self, flags: VolumeDelete = VolumeDelete.NONE) -> None: ...
    @overload
    def delete(self, flags: int) -> Job[None] | None: ...
    def delete(self, flags: int = 0) -> Job[None] | None:
        """Delete it; when this returns, it is gone from disk.

        Raises `VolumeBusy` while another operation holds it, and `VolumeNotFound`.
        """
        check_flags(flags, VolumeDelete, "delete volume")
        pool = self.pool
        job = pool.engine.job(
            "delete volume", pool=pool.name, volume=self.name, convert=lambda _: None
        )
        pool.ref.submit(m.DeleteVolume(job, self.name))
        return outcome(job, flags)
