"""What can be done to a volume, and what must be on disk when it was done, or not, or half."""

from __future__ import annotations

import itertools
import os
import reprlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.system.volume_model import (
    HEAD,
    Disk,
    Image,
    Key,
    check_half_way,
    resized,
)

import volary
from volary import ASYNC, BackingFile, VolumeDelete, VolumeResize, VolumeSpec, WipeAlgorithm
from volary.engine.volume_spec import Preallocation

Tell = Callable[[volary.Progress], None]
Errors = tuple[type[volary.VolaryError], ...]

UNREADABLE: Errors = (volary.VolumeUnreadable, volary.VolumeNotFound)
_numbers = itertools.count()


class Operation:
    """One thing that is done to the volume `key`.

    begin: starts it and returns its job.
    writes: the volume that it is alone with; None when it writes none.
    reads: the volumes that nobody may write meanwhile.
    refusals: what it must end with, of these any, without having done anything; none if it is
        to go well. It may be asked when no other operation runs on these volumes.
    mishaps: what it must end with half way; none if it is to go well.
    """

    mishaps: Errors = ()

    def __init__(self, disk: Disk, pools: dict[str, volary.Pool], key: Key) -> None:
        self.disk = disk
        self.pools = pools
        self.key = key

    def __repr__(self) -> str:
        about = {**vars(self), "disk": None, "pools": None, "before": None}
        known = {key: self.disk.images.get(key) for key in (self.key, *self.reads)}
        return f"<{type(self).__name__} {reprlib.repr(about)} of {reprlib.repr(known)}>"

    @property
    def pool(self) -> volary.Pool:
        return self.pools[self.key.pool]

    @property
    def volume(self) -> volary.Volume:
        return volary.Volume(self.pool, self.key.name)

    @property
    def writes(self) -> Key | None:
        return self.key

    @property
    def reads(self) -> list[Key]:
        return []

    def is_foreseen(self) -> bool:
        """Say whether it is known what will come of it."""
        return True

    def refusals(self) -> Errors:
        return () if self.key in self.disk.images else (volary.VolumeNotFound,)

    def remember(self) -> None:
        """Take note of what is there before it begins."""

    def begin(self, tell: Tell | None = None) -> volary.Job[Any]:
        raise NotImplementedError

    def succeeded(self, result: Any) -> None:
        """Take note of what it did."""

    def stopped(self, job: volary.Job[Any]) -> None:
        """Take note of what is left of it: it was cancelled, or failed half way."""


class _Written(Operation):
    """An operation that writes over the file in place."""

    was: Image
    before: bytes

    def remember(self) -> None:
        self.was = self.disk.images[self.key]
        self.before = self.disk.file(self.key)

    def recognise(self, job: volary.Job[Any] | None = None) -> None:
        """Take note of what the volume is now, after a success or the early end of `job`.

        One that the pool made raw stays raw. One that it took for raw stays so after an early
        end, unless the pool has crashed and knows no more what has been done to it.
        """
        anew = job is None or (
            not job.cancelled() and isinstance(job.exception(), volary.PoolCrashed)
        )
        stays = self.was.format == "raw" and (self.was.marked or not anew)
        self.disk.recognise(self.key, marked=stays)
        self.disk.images[self.key].marked = self.was.format == "raw" and self.was.marked


def capacity_in(format_: str, size: int) -> int:
    """Return the capacity of an image that `size` bytes were asked for."""
    return -(-size // 512) * 512 if format_ == "qcow2" else size


class Create(Operation):
    """Creation, also of overlays."""

    def __init__(
        self,
        disk: Disk,
        pools: dict[str, volary.Pool],
        key: Key,
        *,
        size: int = 0,
        format_: str = "raw",
        preallocation: Preallocation = "off",
        backing: Key | None = None,
    ) -> None:
        super().__init__(disk, pools, key)
        self.size = size
        self.format = "qcow2" if backing is not None else format_
        self.preallocation: Preallocation = preallocation
        if self.format == "raw" and preallocation == "metadata":
            self.preallocation = "falloc"
        self.backing = backing
        self.made: Image | None = None

    @property
    def reads(self) -> list[Key]:
        return [] if self.backing is None else [self.backing]

    def is_foreseen(self) -> bool:
        # Whether a chain that is not what it says may have one more image is not ours to say.
        below = self.backing
        return below is None or (
            self.disk.is_sound(below)
            and (below not in self.disk.images or self.disk.seen(below) is not None)
        )

    def refusals(self) -> Errors:
        if self.backing is not None:
            chain = self.disk.chain(self.backing)
            if self.key in chain or self.disk.seen(self.backing) is None:
                return (*UNREADABLE, volary.VolumeExists)
        return (volary.VolumeExists,) if self.key in self.disk.images else ()

    def remember(self) -> None:
        if self.backing is None:
            size = capacity_in(self.format, self.size)
            self.made = Image(self.format, size, bytes(size), marked=self.format == "raw")
        else:
            below = self.disk.images[self.backing]
            size = capacity_in("qcow2", below.capacity)
            self.made = Image("qcow2", size, None, self.backing, below.format)

    def begin(self, tell: Tell | None = None) -> volary.Job[Any]:
        spec = VolumeSpec(
            self.key.name,
            capacity=None if self.backing is not None else self.size,
            format=self.format,
            preallocation=self.preallocation,
            backing=None
            if self.backing is None
            else BackingFile(os.fspath(self.disk.path(self.backing))),
        )
        return self.pool.create_volume(spec, ASYNC, on_progress=tell)

    def succeeded(self, result: Any) -> None:
        assert result == self.volume
        assert self.made is not None
        self.disk.images[self.key] = self.made
        self.disk.check(self.key)

    def stopped(self, job: volary.Job[Any]) -> None:
        assert not self.disk.path(self.key).exists()


class Clone(Operation):
    """A clone, from either pool into either one."""

    def __init__(
        self,
        disk: Disk,
        pools: dict[str, volary.Pool],
        key: Key,
        *,
        source: Key,
        format_: str,
        more: int,
    ) -> None:
        super().__init__(disk, pools, key)
        self.source = source
        self.format = format_
        self.more = more
        self.data = b""
        self.capacity = 0

    @property
    def reads(self) -> list[Key]:
        return self.disk.chain(self.source)

    def is_foreseen(self) -> bool:
        return self.disk.is_sound(self.source)

    def refusals(self) -> Errors:
        seen = self.disk.seen(self.source)
        # Of several reasons, any may be told.
        errors = () if seen is not None else (*UNREADABLE, volary.InvalidSpec)
        if self.key in self.disk.images:
            return (*errors, volary.VolumeExists)
        if seen is not None and max(1, len(seen) + self.more) < len(seen):
            return (volary.InvalidSpec,)
        return errors

    def remember(self) -> None:
        seen = self.disk.seen(self.source)
        assert seen is not None
        self.capacity = capacity_in(self.format, max(1, len(seen) + self.more))
        self.data = resized(seen, self.capacity)

    def begin(self, tell: Tell | None = None) -> volary.Job[Any]:
        image = self.disk.images.get(self.source)
        capacity = None
        if self.more and image is not None:
            capacity = max(1, image.capacity + self.more)
        source = volary.Volume(self.pools[self.source.pool], self.source.name)
        spec = VolumeSpec(self.key.name, capacity=capacity, format=self.format)
        return self.pool.clone_volume(source, spec, ASYNC, on_progress=tell)

    def succeeded(self, result: Any) -> None:
        assert result == self.volume
        self.disk.images[self.key] = Image(
            self.format, self.capacity, self.data, marked=self.format == "raw"
        )
        self.disk.check(self.key)

    def stopped(self, job: volary.Job[Any]) -> None:
        assert not self.disk.path(self.key).exists()


class Resize(_Written):
    """A resize to `size` bytes."""

    def __init__(
        self,
        disk: Disk,
        pools: dict[str, volary.Pool],
        key: Key,
        size: int,
        flags: VolumeResize,
    ) -> None:
        super().__init__(disk, pools, key)
        self.size = size
        self.flags = flags

    @property
    def reads(self) -> list[Key]:
        return self.disk.chain(self.key)[1:]

    def is_foreseen(self) -> bool:
        return self.disk.is_sound(self.key)

    def refusals(self) -> Errors:
        image = self.disk.images.get(self.key)
        if image is None:
            return (volary.VolumeNotFound,)
        if image.backing is not None and self.disk.seen(self.key) is None:
            return (*UNREADABLE, volary.InvalidSpec)
        if self.size < image.capacity and not self.flags & VolumeResize.SHRINK:
            return (volary.InvalidSpec,)
        return ()

    def begin(self, tell: Tell | None = None) -> volary.Job[Any]:
        return self.volume.resize(self.size, self.flags | ASYNC, on_progress=tell)

    def succeeded(self, result: Any) -> None:
        image = self.was
        image.capacity = capacity_in(image.format, self.size)
        if image.data is not None:
            image.data = resized(image.data, image.capacity)
        image.marked = image.format == "raw"
        self.disk.check(self.key)

    def stopped(self, job: volary.Job[Any]) -> None:
        image = self.was
        after = self.disk.file(self.key)
        if image.format == "raw":
            assert after == self.before
            image.marked = image.marked or self.disk.is_marked(self.key)  # if it had begun
            self.recognise(job)
            return
        # Of an image only the capacity must be what it was, and the content. A shrinkage cannot
        # be undone: once begun it is carried to its end.
        (capacity,) = struct.unpack(">Q", after[24:32])
        size = capacity_in(image.format, self.size)
        assert capacity in (image.capacity, min(image.capacity, size))
        if image.data is not None:
            image.data = resized(image.data, capacity)
        image.capacity = capacity


class Wipe(_Written):
    """A wipe, which no cancel undoes."""

    def __init__(
        self,
        disk: Disk,
        pools: dict[str, volary.Pool],
        key: Key,
        algorithm: WipeAlgorithm,
    ) -> None:
        super().__init__(disk, pools, key)
        self.algorithm = algorithm

    def begin(self, tell: Tell | None = None) -> volary.Job[Any]:
        return self.volume.wipe(self.algorithm, ASYNC, on_progress=tell)

    def succeeded(self, result: Any) -> None:
        after = self.disk.file(self.key)
        if self.algorithm in (WipeAlgorithm.ZERO, WipeAlgorithm.TRIM):
            assert after == bytes(len(self.before))
        elif self.algorithm is WipeAlgorithm.DOD:
            # Ones, but in the holes.
            assert len(after) == len(self.before)
            left = {now or old for now, old in zip(after, self.before, strict=True) if now != 0xFF}
            assert left <= {0}
        else:
            assert len(after) == len(self.before)
            assert self.before.count(0) == len(self.before) or after != self.before
        self.disk.images[self.key] = Image("raw", len(after), after, marked=True)

    def stopped(self, job: volary.Job[Any]) -> None:
        check_wiped_half_way(self.before, self.disk.file(self.key), job, self.algorithm)
        self.recognise(job)


def check_wiped_half_way(
    before: bytes, after: bytes, job: volary.Job[Any], algorithm: WipeAlgorithm
) -> None:
    """Check that the volume was wiped as far as the job's progress says, and no further."""
    if algorithm is WipeAlgorithm.ZERO:
        # Holes are passed over: it is at least as far as the bytes that were told.
        check_half_way(before, bytes(len(before)), after, least=job.progress().done)
    elif algorithm is WipeAlgorithm.TRIM:
        done = job.progress().done
        check_half_way(before, bytes(len(before)), after, least=done, most=done)
    else:
        assert len(after) == len(before)


class Upload(_Written):
    """An upload of `pieces`, each of them bytes or a hole."""

    def __init__(
        self,
        disk: Disk,
        pools: dict[str, volary.Pool],
        key: Key,
        pieces: list[bytes | volary.Hole],
        *,
        offset: int = 0,
        length_is_off_by: int | None = None,
        as_file: bool = False,
        breaks: bool = False,
        template: bool = False,
    ) -> None:
        super().__init__(disk, pools, key)
        self.pieces = pieces
        self.offset = offset
        self.total = sum(size_of(piece) for piece in pieces)
        self.length = None
        if length_is_off_by is not None:
            self.length = max(0, self.total + length_is_off_by)
        self.as_file = as_file
        self.breaks = breaks and not as_file
        self.template = template
        self.content = b"".join(
            bytes(piece.length) if isinstance(piece, volary.Hole) else piece for piece in pieces
        )

    def remember(self) -> None:
        super().remember()
        room = len(self.before) if self.was.format == "raw" else 1 << 60
        fits = self.offset <= room and self.offset + (self.length or 0) <= room
        too_much = self.offset + self.total > room
        if not fits:
            self.mishaps = (volary.InvalidSpec,)
        elif self.breaks or too_much or self.length not in (None, self.total):
            self.mishaps = (volary.TransferFailed,)

    def begin(self, tell: Tell | None = None) -> volary.Job[Any]:
        source = self._file() if self.as_file else self._chunks()
        return self.volume.upload(
            source,
            ASYNC,
            offset=self.offset,
            length=self.length,
            on_progress=tell,
        )

    def _chunks(self) -> Iterator[bytes | volary.Hole]:
        yield from self.pieces
        if self.breaks:
            raise RuntimeError("the source breaks")

    def _file(self) -> Path:
        path = self.disk.folder / f"source-{next(_numbers)}"
        with path.open("wb") as file:
            for piece in self.pieces:
                if isinstance(piece, volary.Hole):
                    file.seek(piece.length, os.SEEK_CUR)
                else:
                    file.write(piece)
            file.truncate(self.total)
        return path

    def _wanted(self) -> bytes:
        """Return the file as it is when all is written."""
        start = self.before[: self.offset].ljust(self.offset, b"\0")
        return start + self.content + self.before[self.offset + self.total :]

    def succeeded(self, result: Any) -> None:
        wanted = self._wanted()
        assert self.disk.file(self.key) == wanted
        whole = self.offset == 0 and self.total >= min(len(wanted), HEAD)
        # A part that leaves what a guest wrote at the begin leaves a raw volume raw, for good.
        self.disk.recognise(self.key, marked=not whole and self.was.format == "raw")
        image = self.disk.images[self.key]
        image.marked = image.format == "raw"
        if self.template and image.format == "qcow2":
            image.data, image.sound = bytes(image.capacity), True

    def stopped(self, job: volary.Job[Any]) -> None:
        after = self.disk.file(self.key)
        error = None if job.cancelled() else job.exception()
        if isinstance(error, volary.TransferFailed):
            done = error.done
            assert done <= self.total
            wanted = self._wanted()[: self.offset + done]
            # A file grows with what is written, and by a hole at its end when that is all.
            assert after.ljust(len(wanted), b"\0") == wanted + self.before[len(wanted) :]
        elif isinstance(error, volary.InvalidSpec):
            assert after == self.before
        else:
            least, most = self._places(job.progress().done)
            # A file grows with what is written, and by a hole at its end when that is all.
            least = min(least, len(after))
            check_half_way(self.before, self._wanted(), after, least=least, most=most)
        self.recognise(job)

    def _places(self, done: int) -> tuple[int, int]:
        """Return the first and the last place in the file that so many bytes of data end at."""
        at = self.offset
        least = at
        for piece in self.pieces:
            if isinstance(piece, volary.Hole):
                at += piece.length
                continue
            if done < len(piece):
                return least if done == 0 else at + done, at + done
            done -= len(piece)
            at += len(piece)
            least = at if piece else least
        return least, at


def size_of(piece: bytes | volary.Hole) -> int:
    """Return the bytes that a piece of an upload stands for."""
    return piece.length if isinstance(piece, volary.Hole) else len(piece)


class Download(Operation):
    """A download into a file of its own, or into one that breaks after so many bytes."""

    def __init__(
        self,
        disk: Disk,
        pools: dict[str, volary.Pool],
        key: Key,
        offset: int,
        breaks_after: int | None,
    ) -> None:
        super().__init__(disk, pools, key)
        self.offset = offset
        self.folder = disk.folder / f"download-{next(_numbers)}"
        self.breaks_after = breaks_after
        self.content = b""

    @property
    def writes(self) -> Key | None:
        return None

    @property
    def reads(self) -> list[Key]:
        return [self.key]

    def remember(self) -> None:
        data = self.disk.file(self.key)
        if self.offset > len(data):
            self.mishaps = (volary.InvalidSpec,)
        self.content = data[self.offset :]
        if self.breaks_after is not None and self.breaks_after < len(self.content):
            self.mishaps = (*self.mishaps, volary.TransferFailed)

    def begin(self, tell: Tell | None = None) -> volary.Job[Any]:
        self.folder.mkdir(exist_ok=True)
        target = (
            self.folder / "whole" if self.breaks_after is None else BreakingFile(self.breaks_after)
        )
        return self.volume.download(target, ASYNC, offset=self.offset, on_progress=tell)

    def succeeded(self, result: Any) -> None:
        assert result == len(self.content)
        if self.breaks_after is None:
            assert (self.folder / "whole").read_bytes() == self.content

    def stopped(self, job: volary.Job[Any]) -> None:
        assert os.listdir(self.folder) == []


class BreakingFile:
    """A file object that takes only so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, data: bytes, /) -> int:
        if len(data) > self.room:
            raise RuntimeError("the target breaks")
        self.room -= len(data)
        return len(data)


class Delete(_Written):
    """A deletion."""

    def __init__(
        self,
        disk: Disk,
        pools: dict[str, volary.Pool],
        key: Key,
        flags: VolumeDelete,
    ) -> None:
        super().__init__(disk, pools, key)
        self.flags = flags

    def begin(self, tell: Tell | None = None) -> volary.Job[Any]:
        return self.volume.delete(self.flags | ASYNC)

    def succeeded(self, result: Any) -> None:
        del self.disk.images[self.key]
        assert not self.disk.path(self.key).exists()

    def stopped(self, job: volary.Job[Any]) -> None:
        after = self.disk.file(self.key)
        if not self.flags:
            assert after == self.before
            if self.was.format == "raw":
                self.recognise(job)
            return
        check_wiped_half_way(self.before, after, job, WipeAlgorithm.ZERO)
        self.recognise(job)


class Refresh(Operation):
    """A refresh of the key's pool, which changes nothing."""

    @property
    def writes(self) -> Key | None:
        return None

    def refusals(self) -> Errors:
        return ()

    def begin(self, tell: Tell | None = None) -> volary.Job[Any]:
        return self.pool.refresh(ASYNC)
