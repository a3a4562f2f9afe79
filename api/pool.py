"""A pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload
from uuid import UUID

from volary.api.outcome import blocking, outcome, submitting
from volary.api.volume import Volume
from volary.engine.actors import messages as m
from volary.engine.actors.chain import BackingOutside, lease, lease_backing, lease_below
from volary.engine.actors.engine import Engine
from volary.engine.actors.job import Job
from volary.engine.actors.leased_volume import LeasedVolume
from volary.engine.actors.pool_ref import PoolRef
from volary.engine.errors import InvalidSpec
from volary.engine.flags import (
    ASYNC,
    Async,
    PoolBuild,
    PoolDelete,
    PoolFlags,
    PoolStart,
    PoolXml,
    VolumeCreate,
    check_flags,
    check_one_of,
    check_start,
)
from volary.engine.image_info import BackingFile
from volary.engine.names import check_name
from volary.engine.pool_document import write_pool_document
from volary.engine.pool_info import PoolInfo
from volary.engine.pool_type import PARTITION_FORMATS
from volary.engine.progress import Progress
from volary.engine.secret import Secret
from volary.engine.volume_document import read_volume_document
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec


def _no_result(_: object) -> None:
    """Make nothing of an operation's result."""


class Pool:
    """A storage pool: a name for it, which stays one when the pool is gone.

    Every call that can take long blocks, and returns its `Job` at once when `ASYNC` is among its
    flags. Look-ups, listings and a second creation go on while jobs run.
    """

    __slots__ = ("engine", "ref")

    def __init__(self, engine: Engine, ref: PoolRef) -> None:
        self.engine = engine
        self.ref = ref

    def __repr__(self) -> str:
        return f"<Pool {self.name!r} {self.uuid}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pool) and self.uuid == other.uuid

    def __hash__(self) -> int:
        return hash(self.uuid)

    @property
    def name(self) -> str:
        """Its name."""
        return self.ref.name

    @property
    def uuid(self) -> UUID:
        """Its UUID."""
        return self.ref.uuid

    @property
    def target(self) -> str:
        """The path that its volumes are found below: of a "dir" pool, the directory; "" where
        there is none.
        """
        return self.ref.target

    @property
    def type(self) -> str:
        """Its type, such as "dir"."""
        return self.ref.ask(m.GetStatus()).spec.type

    @property
    def is_active(self) -> bool:
        """Whether it is started."""
        return self.ref.ask(m.GetStatus()).active

    @property
    def is_persistent(self) -> bool:
        """Whether its definition outlives a stop."""
        return self.ref.ask(m.GetStatus()).definition.is_persistent

    @property
    def autostart(self) -> bool:
        """Whether it is started with the engine; settable on a persistent pool."""
        return self.ref.ask(m.GetStatus()).definition.autostart

    @autostart.setter
    def autostart(self, on: bool) -> None:
        job = self.engine.job("set autostart", pool=self.name, convert=_no_result)
        self.ref.submit(m.SetAutostart(job, on))
        blocking(job)

    def info(self) -> PoolInfo:
        """Return its state and its space in bytes, as they are now.

        What was taken away from it while it was active is shown by its state: `DEGRADED` when its
        volumes can only be read, `INACCESSIBLE` when they cannot be reached any more.
        """
        return self.ref.ask(m.GetInfo())

    def xml(self, flags: int = PoolXml.NONE) -> str:
        """Return it as libvirt's pool document, of an active pool with its space and what its
        target was found to be; with `PoolXml.INACTIVE`, as it will be started the next time.
        """
        check_flags(flags, PoolXml, "pool document")
        if flags & PoolXml.INACTIVE:
            return write_pool_document(self.ref.ask(m.GetStatus()).definition.next)
        spec, info, free_extents = self.ref.ask(m.DescribePool())
        return write_pool_document(
            spec,
            capacity=info.capacity,
            allocation=info.allocation,
            available=info.available,
            free_extents=free_extents,
        )

    @overload
    def start(self, flags: Async) -> Job[None]: ...
    @overload
    def start(self, flags: PoolStart = PoolStart.NONE) -> None: ...
    @overload
    def start(self, flags: int) -> Job[None] | None: ...
    def start(self, flags: int = 0) -> Job[None] | None:
        """Open it and find its volumes; with `PoolStart.BUILD`, build it first.

        flags: `PoolStart.BUILD_OVERWRITE` and `PoolStart.BUILD_NO_OVERWRITE` build it, too, as
            `PoolBuild.OVERWRITE` and `PoolBuild.NO_OVERWRITE` do.

        Raises `PoolActive`, `BackendMissing`, or `TargetUnusable` and other errors saying what its
        target or source is not.
        """
        start = check_start(flags, "start pool")
        job = self.engine.job("start pool", pool=self.name, convert=_no_result)
        self.ref.submit(m.StartPool(job, start))
        return outcome(job, flags)

    @overload
    def stop(self, flags: Async) -> Job[None]: ...
    @overload
    def stop(self, flags: PoolFlags = PoolFlags.NONE) -> None: ...
    @overload
    def stop(self, flags: int) -> Job[None] | None: ...
    def stop(self, flags: int = 0) -> Job[None] | None:
        """Let go of it (libvirt's destroy): the volumes stay; a transient pool is no more, and one
        that was redefined meanwhile is as its new definition says.

        Raises `PoolBusy` while jobs run in it, and `PoolInactive`.
        """
        check_flags(flags, PoolFlags, "stop pool")
        job = self.engine.job("stop pool", pool=self.name, convert=_no_result)
        self.ref.submit(m.StopPool(job))
        return outcome(job, flags)

    @overload
    def build(self, flags: Async) -> Job[None]: ...
    @overload
    def build(self, flags: PoolBuild = PoolBuild.NONE) -> None: ...
    @overload
    def build(self, flags: int) -> Job[None] | None: ...
    def build(self, flags: int = 0) -> Job[None] | None:
        """Make what it needs, with its mode, owner and group: for a "dir" pool, the directory.

        flags: for pools that are made on a device, `PoolBuild.OVERWRITE` to have what is on it
            lost; without it, or with `PoolBuild.NO_OVERWRITE`, that stays.

        Raises `PoolActive`, `BackendMissing`, `SourceNotEmpty`, `Unsupported` for a flag that
        means nothing for its type, and what the system refuses.
        """
        check_flags(flags, PoolBuild, "build pool")
        check_one_of(flags, PoolBuild.OVERWRITE, PoolBuild.NO_OVERWRITE, "build pool")
        job = self.engine.job("build pool", pool=self.name, convert=_no_result)
        self.ref.submit(m.BuildPool(job, PoolBuild(flags & ~ASYNC)))
        return outcome(job, flags)

    @overload
    def delete(self, flags: Async) -> Job[None]: ...
    @overload
    def delete(self, flags: PoolDelete = PoolDelete.NONE) -> None: ...
    @overload
    def delete(self, flags: int) -> Job[None] | None: ...
    def delete(self, flags: int = 0) -> Job[None] | None:
        """Remove what it is made of: for a "dir" pool, the directory, which must be empty.

        Raises `PoolActive`, `BackendMissing`, `Unsupported` for a flag that means nothing for its
        type, and `TargetNotEmpty` rather than delete a volume.
        """
        check_flags(flags, PoolDelete, "delete pool")
        job = self.engine.job("delete pool", pool=self.name, convert=_no_result)
        self.ref.submit(m.DeletePool(job, PoolDelete(flags & ~ASYNC)))
        return outcome(job, flags)

    def undefine(self) -> None:
        """Forget it: its definition is removed, its target and volumes stay.

        Raises `PoolActive`, for a transient pool, too.
        """
        job = self.engine.job("undefine pool", pool=self.name, convert=_no_result)
        self.ref.submit(m.UndefinePool(job))
        blocking(job)

    @overload
    def refresh(self, flags: Async) -> Job[None]: ...
    @overload
    def refresh(self, flags: PoolFlags = PoolFlags.NONE) -> None: ...
    @overload
    def refresh(self, flags: int) -> Job[None] | None: ...
    def refresh(self, flags: int = 0) -> Job[None] | None:
        """Find its volumes anew, as they are on disk; everything else goes on meanwhile."""
        check_flags(flags, PoolFlags, "refresh pool")
        job = self.engine.job("refresh pool", pool=self.name, convert=_no_result)
        self.ref.submit(m.RefreshPool(job))
        return outcome(job, flags)

    def volumes(self) -> list[Volume]:
        """Return its volumes by name; one that is being created comes when it is whole."""
        return [Volume(self, name) for name in sorted(i.name for i in self.volume_infos())]

    def volume_infos(self) -> tuple[VolumeInfo, ...]:
        """Return what is known of every volume since the pool was started or refreshed, in one
        answer.
        """
        return self.ref.ask(m.ListVolumes())

    def volume(self, name: str) -> Volume:
        """Return the volume of that name; raises `VolumeNotFound`, and `InvalidSpec` for what
        cannot be a name.
        """
        return Volume(self, self.ref.ask(m.FindVolume(check_name(name, "volume"))).name)

    def jobs(self) -> list[Job[Any]]:
        """Return its jobs: those that wait or run, and the last ones that ended."""
        return sorted(self.ref.ask(m.ListJobs()), key=lambda job: job.id)

    @overload
    def create_volume(
        self,
        spec: VolumeSpec | str,
        flags: Async,
        *,
        secret: bytes | str | Secret | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[Volume]: ...
    @overload
    def create_volume(
        self,
        spec: VolumeSpec | str,
        flags: VolumeCreate = VolumeCreate.NONE,
        *,
        secret: bytes | str | Secret | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Volume: ...
    @overload
    def create_volume(
        self,
        spec: VolumeSpec | str,
        flags: int,
        *,
        secret: bytes | str | Secret | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Volume | Job[Volume]: ...
    def create_volume(
        self,
        spec: VolumeSpec | str,
        flags: int = 0,
        *,
        secret: bytes | str | Secret | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Volume | Job[Volume]:
        """Create a volume: when this returns, it is on disk and synced, name and content.

        spec: what it is to be, or libvirt's document of it (`read_volume_document`).
        flags: `VolumeCreate.PREALLOCATE_METADATA`; `VolumeCreate.VALIDATE` to refuse a document
            with what nobody reads; `ASYNC` to return the job at once.
        secret: the passphrase of a volume that is to be encrypted, where the spec has it not: a
            document has a reference at the most.
        on_progress: called with a `Progress` at most some tens of times a second, on the job's
            thread: what it does slows the job and nothing else.

        Raises `VolumeExists`, `NoSpace`, `PoolInactive`, `PassphraseMissing`, what
        `read_volume_document` does, and what the system refuses; nothing is left then, nor after a
        cancel or a crash.
        """
        check_flags(flags, VolumeCreate, "create volume")
        if flags & VolumeCreate.REFLINK:
            raise InvalidSpec("create volume: the flag REFLINK is for clone_volume")
        passphrase = Secret.of(secret)
        del secret  # no traceback that shows a frame's values has it
        spec = self._wanted(spec, flags, "create volume", passphrase)
        if spec.capacity is None and spec.backing is None and spec.format != "dir":
            raise InvalidSpec(f"volume {spec.name!r}: no capacity; give one, such as '8 GiB'")
        job = self._volume_job("create volume", spec.name, on_progress)
        if spec.backing is None:
            self.ref.submit(m.CreateVolume(job, spec))
            return outcome(job, flags)
        with submitting(job):
            spec, below = self._complete(job, spec, spec.backing)
            self.ref.submit(m.CreateVolume(job, spec, below))
        return outcome(job, flags)

    def _wanted(
        self, given: VolumeSpec | str, flags: int, call: str, passphrase: Secret | None
    ) -> VolumeSpec:
        """Return what is to be made, flags and passphrase being taken into account."""
        if isinstance(given, str):
            spec = read_volume_document(
                given,
                pool_type=self.type,
                capacity_needed=call == "create volume",
                validate=bool(flags & VolumeCreate.VALIDATE),
            )
        elif isinstance(given, VolumeSpec):
            spec = given
        else:
            raise InvalidSpec(
                f"{call}: {given!r} is no specification; give a volary.VolumeSpec, such as "
                "VolumeSpec('a.raw', capacity='8 GiB'), or libvirt's document as a string"
            )
        if flags & VolumeCreate.PREALLOCATE_METADATA:
            spec = spec.with_metadata()
        if passphrase is not None:
            spec = spec.with_secret(passphrase)
        if spec.encryption is not None:
            spec.encryption.passphrase(f"volume {spec.name!r}")
        return spec

    def _complete(
        self, job: Job[Any], spec: VolumeSpec, backing: BackingFile
    ) -> tuple[VolumeSpec, tuple[LeasedVolume, ...]]:
        """Look at the backing file for what the spec says nothing of, and return that, too."""
        try:
            base = lease_backing(self.engine, job, self.ref, spec.name, backing)
        except BackingOutside:
            # Somebody else's file, which is not opened: what is given must do.
            if spec.capacity is None or backing.format is None:
                raise
            return spec, ()
        format_ = "raw" if base.info.format in PARTITION_FORMATS else base.info.format
        spec = spec.with_backing_format(format_).with_capacity(base.info.capacity)
        if spec.format != "vmdk":
            return spec, (base,)
        # Its header bears an id of its base's content.
        below = lease_below(self.engine, job, base.ref, base.name, base.info, trust=False)
        return spec, (base, *below)

    def _volume_job(
        self, operation: str, name: str, on_progress: Callable[[Progress], None] | None
    ) -> Job[Volume]:
        return self.engine.job(
            operation,
            pool=self.ref.name,
            volume=name,
            convert=lambda _: Volume(self, name),
            on_progress=on_progress,
        )

    @overload
    def clone_volume(
        self,
        source: Volume,
        spec: VolumeSpec | str,
        flags: Async,
        *,
        secret: bytes | str | Secret | None = None,
        source_secret: bytes | str | Secret | None = None,
        trust_backing: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[Volume]: ...
    @overload
    def clone_volume(
        self,
        source: Volume,
        spec: VolumeSpec | str,
        flags: VolumeCreate = VolumeCreate.NONE,
        *,
        secret: bytes | str | Secret | None = None,
        source_secret: bytes | str | Secret | None = None,
        trust_backing: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Volume: ...
    @overload
    def clone_volume(
        self,
        source: Volume,
        spec: VolumeSpec | str,
        flags: int,
        *,
        secret: bytes | str | Secret | None = None,
        source_secret: bytes | str | Secret | None = None,
        trust_backing: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Volume | Job[Volume]: ...
    def clone_volume(
        self,
        source: Volume,
        spec: VolumeSpec | str,
        flags: int = 0,
        *,
        secret: bytes | str | Secret | None = None,
        source_secret: bytes | str | Secret | None = None,
        trust_backing: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Volume | Job[Volume]:
        """Create a volume with the content of another one, of this pool or another; when this
        returns, it is on disk and synced, name and content.

        source: the volume to copy, with all that it is backed by. It stays readable, and nobody
            writes or deletes it meanwhile.
        spec: what the clone is to be: raw unless it says otherwise, whatever the source is;
            without a capacity, as large as the source. It has its content itself: for an
            overlay, see `create_volume`. A document may leave the capacity out.
        flags: `VolumeCreate.REFLINK` to share the source's blocks or fail (btrfs, xfs; raw
            volumes); without it they are shared where that is possible. `ASYNC` to return the
            job at once.
        secret: as for `create_volume`, of the clone.
        source_secret: the passphrase of a source that is encrypted.
        trust_backing: whether to read what the source's header says that it is backed by, though
            it was not created here so: whoever uploaded it may have named somebody else's volume.
        on_progress: as for `create_volume`.

        Raises `VolumeBusy` while another operation writes the source, `VolumeExists`, `NoSpace`,
        `VolumeUnreadable`, and what the system refuses; nothing is left then, nor after a cancel.
        With `ASYNC`, too, it first asks the pools for the source and what that is backed by: some
        milliseconds when they have much to do.
        """
        check_flags(flags, VolumeCreate, "clone volume")
        passphrase, opens = Secret.of(secret), Secret.of(source_secret)
        del secret, source_secret  # no traceback that shows a frame's values has them
        spec = self._wanted(spec, flags, "clone volume", passphrase)
        if not isinstance(source, Volume):
            raise InvalidSpec(f"clone volume: {source!r} is no volume; give a volary.Volume")
        if source.pool.engine is not self.engine:
            raise InvalidSpec(
                f"clone volume: {source!r} is of another connection, which may close meanwhile; "
                "clone a volume of this one"
            )
        if spec.backing is not None:
            raise InvalidSpec(
                f"volume {spec.name!r}: a clone has its content itself, and no backing file; "
                "leave it out, or create an overlay with create_volume"
            )
        if spec.format == "dir":
            raise InvalidSpec(f"volume {spec.name!r}: a directory has no content to copy into")
        job = self._volume_job("clone volume", spec.name, on_progress)
        with submitting(job):
            volumes = lease(self.engine, job, source.pool.ref, source.name, trust=trust_backing)
            self.ref.submit(
                m.CloneVolume(
                    job,
                    spec.with_capacity(volumes[0].info.capacity),
                    volumes,
                    reflink=bool(flags & VolumeCreate.REFLINK),
                    secret=opens,
                )
            )
        return outcome(job, flags)
