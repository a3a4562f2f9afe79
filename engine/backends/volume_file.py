"""A file that holds a volume: what it is, and what is done to its content."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace

from volary.engine.backends import backing_mark, raw_mark
from volary.engine.backends.open_volume import OpenVolume
from volary.engine.errors import InvalidSpec, StorageFailed
from volary.engine.formats import (
    qcow2,
    qemu_convert,
    qemu_create,
    qemu_resize,
    raw,
    raw_copy,
    raw_resize,
    raw_transfer,
)
from volary.engine.formats.fill_holes import fill_holes
from volary.engine.formats.open_image import OpenImage
from volary.engine.formats.probe import HEAD, Probe
from volary.engine.formats.raw_transfer import Source
from volary.engine.formats.recognise import recognise
from volary.engine.image_info import ImageInfo
from volary.engine.progress import Done, Need, Operation
from volary.engine.secret import Secret
from volary.engine.size import LARGEST
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec


def capacity_of(spec: VolumeSpec) -> int:
    """Return the capacity, which a spec has when it comes to a pool."""
    if spec.capacity is None:
        raise InvalidSpec(
            f"volume {spec.name!r} has no capacity; give one, or a backing file that is a volume"
        )
    return spec.capacity


# Looking.


def unchanged(name: str, answer: os.stat_result, known: VolumeInfo | None) -> VolumeInfo | None:
    """Return what is known of a volume as it is now, or None when its file must be opened.

    A raw volume stays one as long as its size is the same: its guest can write another format's
    header into it, and change its size it cannot.
    """
    if stat.S_ISDIR(answer.st_mode):
        return VolumeInfo(
            name,
            0,
            answer.st_blocks * 512,
            answer.st_size,
            type="dir",
            format="dir",
            modified=answer.st_mtime_ns,
        )
    if known is None or known.type != "file" or answer.st_size != known.physical:
        return None
    if known.image is not None and known.image.problem is not None:
        return None  # it may be mended by now
    allocation = answer.st_blocks * 512  # stat(2): always units of 512 bytes
    if known.modified == answer.st_mtime_ns and known.allocation == allocation:
        return known
    if known.format == "raw" or known.modified == answer.st_mtime_ns:
        return replace(known, allocation=allocation, modified=answer.st_mtime_ns)
    return None


def describe(
    name: str,
    fd: int,
    *,
    format: str | None = None,  # noqa: A002 - libvirt's word
    known: VolumeInfo | None = None,
) -> VolumeInfo:
    """Recognise the volume in an open file, or read it as `format`.

    known: what is known from before of whose word its backing file is.
    """
    answer = os.fstat(fd)
    size = answer.st_size
    if format is None and raw_mark.is_marked(fd, size):
        image = ImageInfo("raw", size)
    else:
        try:
            image = recognise(Probe(fd, size, name), format=format)
        except OSError as error:  # of the disk: that of one file is not that of all
            return unreadable(name, answer, error)
    info = _info(name, answer, image)
    backing = image.backing
    if backing is None:
        return info
    before = known.image if known is not None and known.trusted else None
    trusted = before is not None and before.backing == backing
    return replace(info, trusted=trusted or backing_mark.is_marked(fd, backing))


def describe_new(spec: VolumeSpec, fd: int) -> VolumeInfo:
    """Describe a volume that was just made in an open file.

    What we wrote ourselves is not read: the kernel would read ahead, into as much memory.
    """
    if spec.format == "qcow2" and spec.encryption is None:
        return _info(spec.name, os.fstat(fd), qcow2.describe(spec))
    return describe(spec.name, fd, format="raw" if spec.format == "raw" else None)


def unreadable(name: str, answer: os.stat_result, error: OSError) -> VolumeInfo:
    """Return what can be told of a file that cannot be opened or read."""
    reason = f"it cannot be read: {os.strerror(error.errno or 0)}"
    return _info(name, answer, ImageInfo("raw", answer.st_size, problem=reason))


def _info(name: str, answer: os.stat_result, image: ImageInfo) -> VolumeInfo:
    plain = image == ImageInfo("raw", answer.st_size)
    return VolumeInfo(
        name,
        capacity=image.capacity,
        allocation=answer.st_blocks * 512,
        physical=answer.st_size,
        format=image.format,
        modified=answer.st_mtime_ns,
        image=None if plain else image,
    )


# Making.


def fill(fd: int, spec: VolumeSpec, below: Sequence[OpenVolume] = ()) -> Operation[bool]:
    """Make the empty file `fd` a volume; return whether anything was written to it.

    below: the volumes that it is backed by, as far as they are known.
    """
    if spec.format == "raw":
        written = yield from raw.create(
            fd,
            capacity=capacity_of(spec),
            allocation=spec.allocation,
            preallocation=spec.preallocation,
        )
        raw_mark.mark(fd, capacity_of(spec))
        return written
    if spec.format == "qcow2" and spec.encryption is None:
        yield from qcow2.create(fd, spec)
    else:
        backing = open_image(below, None) if below and spec.format == "vmdk" else None
        yield from qemu_create.create(fd, spec, backing=backing)
    if spec.backing is not None:
        backing_mark.mark(fd, spec.backing)
    return True


def clone(
    fd: int,
    spec: VolumeSpec,
    source: Sequence[OpenVolume],
    *,
    reflink: bool,
    secret: Secret | None,
) -> Operation[bool]:
    """Make the empty file `fd` a volume with the content of `source[0]`, which is backed by the
    rest of `source`; return whether anything was written to it.
    """
    original = source[0]
    capacity = capacity_of(spec)
    if capacity < original.info.capacity:
        raise InvalidSpec(
            f"{original.path} has {original.info.capacity} bytes: a clone of {capacity} bytes "
            "would cut it off; leave the capacity out, or resize the source first"
        )
    if original.info.format == spec.format == "raw":
        return (yield from _clone_raw(fd, spec, original, reflink=reflink))
    image = open_image(source, secret)
    if reflink:
        raise InvalidSpec(
            f"only raw volumes share blocks: {original.path} is {original.info.format}, and the "
            f"clone is to be {spec.format}; leave the flag REFLINK out"
        )
    yield from _convert(image, fd, spec)
    return True


def _convert(image: OpenImage, fd: int, spec: VolumeSpec) -> Operation[None]:
    """Make the empty file `fd` a volume, and have qemu-img write into it what is in `image`."""
    # What a header says of an image's size is no measure of what is in it.
    required = yield from qemu_convert.measure(image, spec)
    yield Need(max(required, spec.allocation))
    made = Done()
    for at in fill(fd, spec):
        if isinstance(at, Done):
            made = at
            yield Done(at.done, at.total + image.capacity, at.taken)
        else:
            yield at
    target = OpenImage.of(
        fd,
        _image(describe(spec.name, fd)),
        name=f"volume {spec.name!r}",
        secret=spec.encryption.secret if spec.encryption is not None else None,
    )
    for at in qemu_convert.convert(image, target):
        if isinstance(at, Done):
            yield Done(made.total + at.done, made.total + at.total, made.taken + at.taken)
        else:
            yield at


def _clone_raw(
    fd: int, spec: VolumeSpec, original: OpenVolume, *, reflink: bool
) -> Operation[bool]:
    capacity = capacity_of(spec)
    # What is to be allocated cannot be shared.
    if spec.allocation == 0 and raw_copy.reflink(original.fd, fd):
        os.ftruncate(fd, capacity)
    elif reflink:
        raise StorageFailed(
            f"{original.path} cannot share its blocks with a clone here: that needs btrfs, or xfs "
            "with reflink, one file system for both, and no allocation; leave the flag REFLINK out"
        )
    else:
        yield from _copy_raw(fd, spec, original)
    raw_mark.mark(fd, capacity)
    return True


def _copy_raw(fd: int, spec: VolumeSpec, original: OpenVolume) -> Operation[None]:
    """Copy the data, then write zeros where the source has none if that was asked for.

    What is to be allocated is reserved first, so that space is short at once or not at all.
    """
    capacity = capacity_of(spec)
    full = spec.preallocation == "full"
    reserving = raw.create(
        fd,
        capacity=capacity,
        allocation=spec.allocation,
        preallocation="falloc" if full else spec.preallocation,
    )
    for at in reserving:
        yield Done(taken=at.taken) if isinstance(at, Done) else at
    copied = Done()
    copying = raw_copy.copy(
        original.fd, fd, length=original.info.capacity, reserved=spec.allocation
    )
    for at in copying:
        copied = at if isinstance(at, Done) else copied
        yield at
    if full and spec.allocation == capacity:
        for at in fill_holes(fd, 0, preallocation="full"):
            yield (
                Done(copied.done + at.done, copied.done + at.total, spec.allocation)
                if isinstance(at, Done)
                else at
            )


def open_image(source: Sequence[OpenVolume], secret: Secret | None) -> OpenImage:
    """Return the chain of open volumes as QEMU is given it: nothing is opened by a name.

    Raises `VolumeUnreadable` for what must not be handed to QEMU.
    """
    below: OpenImage | None = None
    for volume in reversed(source):
        image = _image(volume.info)
        below = OpenImage.of(
            volume.fd,
            image,
            name=volume.path,
            backing=below,
            secret=secret if image.encryption is not None else None,
        )
    assert below is not None  # noqa: S101 - there is at least the volume itself
    return below


def _image(info: VolumeInfo) -> ImageInfo:
    return info.image or ImageInfo(info.format, info.capacity)


# Changing.


def resize(
    fd: int,
    now: VolumeInfo,
    capacity: int,
    *,
    allocate: bool,
    below: Sequence[OpenVolume],
    secret: Secret | None,
) -> Operation[None]:
    """Give the volume in `fd` another capacity, or leave it as it was."""
    if now.format == "raw":
        yield from _resize_raw(fd, now.physical, capacity, allocate=allocate)
        return
    this = OpenVolume(fd, f"volume {now.name!r}", now)
    image = open_image((this, *below), secret)
    yield from qemu_resize.resize(
        image,
        capacity,
        shrink=capacity < now.capacity,
        preallocation="falloc" if allocate and capacity > now.capacity else "off",
    )


def _resize_raw(fd: int, size: int, capacity: int, *, allocate: bool) -> Operation[None]:
    # The pool knows that it is raw, whatever is in it, and whatever a crash leaves it at.
    raw_mark.mark(fd, size, capacity)
    try:
        yield from raw_resize.resize(fd, capacity, allocate=allocate)
    except BaseException:
        raw_mark.mark(fd, size)
        raise
    raw_mark.mark(fd, capacity)


def upload(
    fd: int,
    now: VolumeInfo,
    source: Source,
    *,
    offset: int,
    length: int | None,
    doing: str,
) -> Operation[str | None]:
    """Write what comes from `source` into the volume in `fd`.

    A raw volume has room for its capacity. Another one's file holds what it holds, and grows. What
    the volume is from now on is in its content, if all of a header's place was written; a part
    that leaves what a guest wrote there leaves a raw volume raw. Returns the format to read it as,
    or None where that is to be found out.
    """
    room = now.physical if now.format == "raw" else LARGEST
    done = yield from raw_transfer.upload(
        fd, source, offset=offset, length=length, capacity=room, doing=doing
    )
    size = os.fstat(fd).st_size
    if size < offset + done:  # it ended with a hole
        size = offset + done
        os.ftruncate(fd, size)
    known = "raw" if now.format == "raw" else None
    if offset == 0 and done >= min(size, HEAD):
        raw_mark.unmark(fd)
        known = None
    if known == "raw" or recognise(Probe(fd, size, now.name)).format == "raw":
        raw_mark.mark(fd, size)
    return known
