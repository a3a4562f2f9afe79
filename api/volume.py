"""A volume."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal, overload

from volary.api.download_target import DownloadTarget, open_target
from volary.api.outcome import outcome, submitting
from volary.api.upload_source import UploadSource, open_source
from volary.api.volume_stream import VolumeStream
from volary.engine.actors import messages as m
from volary.engine.actors.chain import describe, follow, lease_below
from volary.engine.actors.job import Job
from volary.engine.backing_chain import ChainLink
from volary.engine.errors import InvalidSpec
from volary.engine.flags import (
    ASYNC,
    Async,
    VolumeDelete,
    VolumeDownload,
    VolumeResize,
    VolumeUpload,
    VolumeWipe,
    check_flags,
)
from volary.engine.hole import Hole
from volary.engine.pipe import Pipe
from volary.engine.progress import Progress
from volary.engine.secret import Secret
from volary.engine.size import Size, parse_size
from volary.engine.volume_document import write_volume_details
from volary.engine.volume_info import VolumeInfo
from volary.engine.wipe_algorithm import WipeAlgorithm

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

    def xml(self) -> str:
        """Return it as libvirt's volume document, with what is on disk now.

        Of the image that it is backed by, there is what its header says, and what a volume of an
        active pool is, and no more. Raises `VolumeNotFound`.
        """
        details = describe(self.pool.engine, self.pool.ref, self.name)
        return write_volume_details(details, pool_type=self.pool.type)

    def __fspath__(self) -> str:
        return self.path

    def chain(self) -> tuple[ChainLink, ...]:
        """Return what is known of it and of every image that it is backed by, itself first.

        Volumes of active pools are looked at, and nothing else; where the chain cannot be
        followed, its last link says why. Raises `VolumeNotFound`.
        """
        return follow(self.pool.engine, self.pool.ref, self.name)

    @overload
    def delete(self, flags: Async) -> Job[None]: ...
    @overload
    def delete(self, flags: VolumeDelete = VolumeDelete.NONE) -> None: ...
    @overload
    def delete(self, flags: int) -> Job[None] | None: ...
    def delete(self, flags: int = 0) -> Job[None] | None:
        """Delete it; when this returns, it is gone from disk.

        flags: `VolumeDelete.ZEROED` to write zeros over it first (which a cancel cannot undo).

        Raises `VolumeBusy` while another operation holds it, and `VolumeNotFound`.
        """
        check_flags(flags, VolumeDelete, "delete volume")
        job = self._job("delete volume")
        zeroed = bool(flags & VolumeDelete.ZEROED)
        self.pool.ref.submit(m.DeleteVolume(job, self.name, zeroed))
        return outcome(job, flags)

    @overload
    def resize(
        self,
        capacity: Size,
        flags: Async,
        *,
        secret: bytes | str | Secret | None = None,
        trust_backing: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[None]: ...
    @overload
    def resize(
        self,
        capacity: Size,
        flags: VolumeResize = VolumeResize.NONE,
        *,
        secret: bytes | str | Secret | None = None,
        trust_backing: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None: ...
    @overload
    def resize(
        self,
        capacity: Size,
        flags: int,
        *,
        secret: bytes | str | Secret | None = None,
        trust_backing: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[None] | None: ...
    def resize(
        self,
        capacity: Size,
        flags: int = 0,
        *,
        secret: bytes | str | Secret | None = None,
        trust_backing: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[None] | None:
        """Give it another capacity; when this is cancelled or fails, it has its old one.

        capacity: bytes, or a string such as "8 GiB".
        flags: `VolumeResize.ALLOCATE` reserves what is added; `DELTA` takes `capacity` as what is
            to be added, or with `SHRINK` to be taken off; `SHRINK` allows a smaller capacity,
            which loses what is beyond it.
        secret: the passphrase, of a volume that is encrypted.
        trust_backing: as for `Pool.clone_volume`.
        on_progress: as for `Pool.create_volume`.

        Raises `InvalidSpec` for a smaller capacity without `SHRINK`, and for what the format
        cannot be; `NoSpace`, `VolumeBusy`, `VolumeNotFound`.
        """
        check_flags(flags, VolumeResize, "resize volume")
        size = parse_size(capacity, f"volume {self.name!r}: capacity")
        opens = Secret.of(secret)
        del secret  # no traceback that shows a frame's values has it
        job = self._job("resize volume", on_progress)
        pool = self.pool
        below = partial(lease_below, pool.engine, job, pool.ref, self.name, trust=trust_backing)
        own_flags = VolumeResize(int(flags) & ~int(ASYNC))
        pool.ref.submit(m.ResizeVolume(job, self.name, size, own_flags, below, opens))
        return outcome(job, flags)

    @overload
    def wipe(
        self,
        algorithm: WipeAlgorithm,
        flags: Async,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[None]: ...
    @overload
    def wipe(
        self,
        algorithm: WipeAlgorithm = WipeAlgorithm.ZERO,
        *,
        flags: Async,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[None]: ...
    @overload
    def wipe(
        self,
        algorithm: WipeAlgorithm = WipeAlgorithm.ZERO,
        flags: VolumeWipe = VolumeWipe.NONE,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None: ...
    @overload
    def wipe(
        self,
        algorithm: WipeAlgorithm = WipeAlgorithm.ZERO,
        flags: int = 0,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[None] | None: ...
    def wipe(
        self,
        algorithm: WipeAlgorithm = WipeAlgorithm.ZERO,
        flags: int = 0,
        *,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[None] | None:
        """Write over what it holds, header and all, so that it cannot be read again.

        Holes are left as they are: nothing is in them. It cannot be undone: cancelled, it has
        wiped a part, and the job's progress says how much. An image of another format than raw is
        none any more.

        algorithm: what to write, and how often.
        flags: `ASYNC` to return the job at once.
        on_progress: as for `Pool.create_volume`; counts every pass.

        Raises `VolumeBusy`, `VolumeNotFound`, and `StorageFailed` where the file system cannot.
        """
        check_flags(flags, VolumeWipe, "wipe volume")
        try:
            algorithm = WipeAlgorithm(algorithm)
        except ValueError:
            known = ", ".join(f"WipeAlgorithm.{known.name}" for known in WipeAlgorithm)
            raise InvalidSpec(
                f"wipe volume: {algorithm!r} is no algorithm; known: {known}"
            ) from None
        job = self._job("wipe volume", on_progress)
        self.pool.ref.submit(m.WipeVolume(job, self.name, algorithm))
        return outcome(job, flags)

    @overload
    def upload(
        self,
        source: UploadSource,
        flags: Async,
        *,
        offset: Size = 0,
        length: Size | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[None]: ...
    @overload
    def upload(
        self,
        source: UploadSource,
        flags: VolumeUpload = VolumeUpload.NONE,
        *,
        offset: Size = 0,
        length: Size | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None: ...
    @overload
    def upload(
        self,
        source: UploadSource,
        flags: int,
        *,
        offset: Size = 0,
        length: Size | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[None] | None: ...
    def upload(
        self,
        source: UploadSource,
        flags: int = 0,
        *,
        offset: Size = 0,
        length: Size | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[None] | None:
        """Write into it what a source holds; what it is from now on is found out anew.

        source: a path, a binary file object, an iterable of bytes, or (with `ASYNC`, in a
            coroutine) an asynchronous one. Holes of a file become holes; an iterable yields a
            `Hole` for one.
        flags: `ASYNC` to return the job at once.
        offset: bytes from its begin, as on disk: of an image of another format than raw, what
            is written is the image's file, and not what its guest sees.
        length: how many bytes the source must have; what it has if not given.
        on_progress: as for `Pool.create_volume`.

        It is written in place, so that what was written stays when it fails or is cancelled; a
        raw volume has room for its capacity, and another image's file grows. Raises
        `TransferFailed`, whose `done` says how many bytes were written; `VolumeBusy`,
        `VolumeNotFound`, and `InvalidSpec` for a place outside of the volume.
        """
        check_flags(flags, VolumeUpload, "upload volume")
        part = self._part(offset, length)
        job = self._job("upload volume", on_progress)
        with submitting(job):
            opened = open_source(source, blocks=not flags & ASYNC)
            job.at_end(opened.close)
            self.pool.ref.submit(m.UploadVolume(job, self.name, opened, *part))
        return outcome(job, flags)

    @overload
    def download(
        self,
        target: DownloadTarget,
        flags: Async,
        *,
        offset: Size = 0,
        length: Size | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[int]: ...
    @overload
    def download(
        self,
        target: DownloadTarget,
        flags: VolumeDownload = VolumeDownload.NONE,
        *,
        offset: Size = 0,
        length: Size | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> int: ...
    @overload
    def download(
        self,
        target: DownloadTarget,
        flags: int,
        *,
        offset: Size = 0,
        length: Size | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[int] | int: ...
    def download(
        self,
        target: DownloadTarget,
        flags: int = 0,
        *,
        offset: Size = 0,
        length: Size | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job[int] | int:
        """Read it into a target; return how many bytes that was.

        target: a path, which is there when it is whole and synced, holes as holes, and in the
            place of a file that was there before, with its permissions, or else its owner's
            only; or a binary file object, which gets zeros for holes.
        flags: `ASYNC` to return the job at once.
        offset, length: the part to read, in bytes, as on disk; to the end if not given.
        on_progress: as for `Pool.create_volume`.

        It stays readable, and nobody writes or deletes it meanwhile. Raises `TransferFailed`,
        whose `done` says how many bytes were read; `VolumeBusy` while another operation writes
        it, `VolumeNotFound`, and `InvalidSpec` for a place outside of the volume.
        """
        check_flags(flags, VolumeDownload, "download volume")
        part = self._part(offset, length)
        job = self._download_job(on_progress)
        with submitting(job):
            opened = open_target(target)
            job.at_end(opened.close)
            self.pool.ref.submit(
                m.DownloadVolume(job, self.name, opened.sink, *part, sparse=False)
            )
        return outcome(job, flags)

    @overload
    def stream(
        self, *, offset: Size = 0, length: Size | None = None, sparse: Literal[False] = False
    ) -> VolumeStream[bytes]: ...
    @overload
    def stream(
        self, *, offset: Size = 0, length: Size | None = None, sparse: Literal[True]
    ) -> VolumeStream[bytes | Hole]: ...
    def stream(
        self, *, offset: Size = 0, length: Size | None = None, sparse: bool = False
    ) -> VolumeStream[bytes] | VolumeStream[bytes | Hole]:
        """Read it in chunks: `for chunk in volume.stream()`, or `async for`.

        offset, length: the part to read, in bytes, as on disk; to the end if not given.
        sparse: whether a hole comes as a `Hole`, and not as its zeros.

        It is a context manager; left early, it reads no more. Raises as `download` does.
        """
        part = self._part(offset, length)
        pipe = Pipe()

        def begin() -> Job[int]:
            job = self._download_job(None)
            with submitting(job):
                self.pool.ref.submit(m.DownloadVolume(job, self.name, pipe, *part, sparse))
            return job

        return VolumeStream(pipe, begin)

    def _part(self, offset: Size, length: Size | None) -> tuple[int, int | None]:
        start = parse_size(offset, f"volume {self.name!r}: offset")
        if length is None:
            return start, None
        return start, parse_size(length, f"volume {self.name!r}: length")

    def _download_job(self, on_progress: Callable[[Progress], None] | None) -> Job[int]:
        return self.pool.engine.job(
            "download volume",
            pool=self.pool.name,
            volume=self.name,
            convert=int,
            on_progress=on_progress,
        )

    def _job(
        self, operation: str, on_progress: Callable[[Progress], None] | None = None
    ) -> Job[None]:
        return self.pool.engine.job(
            operation,
            pool=self.pool.name,
            volume=self.name,
            convert=lambda _: None,
            on_progress=on_progress,
        )
