"""Resizing images with qemu-img."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Final, TypeVar

from volary.engine.errors import InvalidSpec, ToolMissing, Unsupported, VolumeBusy
from volary.engine.formats.fill_holes import fill_holes
from volary.engine.formats.open_image import Arguments, OpenImage
from volary.engine.formats.qemu_check import check
from volary.engine.formats.qemu_img import Taken, limits_for, run, workload
from volary.engine.progress import Done, Operation
from volary.engine.volume_spec import Preallocation

T = TypeVar("T")

_PREALLOCATED: Final[dict[str, tuple[Preallocation, ...]]] = {
    "qcow2": ("off", "metadata", "falloc", "full"),
    "qed": ("off",),
    "luks": ("off", "falloc", "full"),
}
"""What qemu-img can resize, and what it can have on disk of what is added."""

_HEADER = 512
_QCOW2_SIZE = slice(24, 32)
_QED_SIZE = slice(48, 56)
"""Where the headers have the capacity (QEMU's docs/interop/qcow2.txt and qed_spec.txt)."""

_QCOW2_VERSION = 7
_QCOW2_INCOMPATIBLE = 79
_QCOW2_DIRTY = 1
"""The last bytes of a qcow2's version and, from version 3 on, of its incompatible features, of
which bit 0 says that the reference counts may be wrong."""


def resize(
    image: OpenImage,
    capacity: int,
    *,
    shrink: bool = False,
    preallocation: Preallocation = "off",
) -> Operation[None]:
    """Give a qcow2, qed or luks image another capacity, in bytes.

    An overlay is given with its backing image: what lies beyond its old end must not show.
    Closed early, or failing, a growth leaves the image as it was. A shrinkage throws data away and
    cannot be undone: once begun, it is carried to its end, also when it is closed early. Nothing
    is synced: that is the caller's.

    shrink: whether less than the capacity that it has may be asked for.
    preallocation: what to have on disk of what is added: all of them for qcow2, "falloc" and
        "full" for luks, none for qed.

    Raises `Unsupported` for another format or preallocation, `InvalidSpec` for a smaller capacity
    without `shrink`, `ToolMissing`, `ToolFailed`, `VolumeBusy`, and OSError with ENOSPC, EDQUOT or
    EFBIG.
    """
    _check_resize(image, capacity, shrink=shrink, preallocation=preallocation)
    yield Done()
    if capacity < image.capacity:
        yield from _carried_through(_resize(image, capacity, "--shrink"))
        return
    before = _Before(image)
    try:
        # QEMU has the tables ready, and what they point to is filled here: so it can be watched,
        # slowed down and stopped, and what was taken is given back when it is.
        tables = image.driver == "qcow2" and preallocation != "off"
        how = "--preallocation=metadata" if tables else "--preallocation=off"
        yield from _resize(image, capacity, how)
        if preallocation in ("falloc", "full"):
            yield from fill_holes(image.fd, before.length, preallocation=preallocation)
    except (ToolMissing, VolumeBusy):  # it did not begin, and somebody else may be writing
        raise
    except BaseException:
        before.restore()
        raise


def _carried_through(work: Operation[None]) -> Operation[None]:
    """Do the work, and once begun do all of it, even when closed early."""
    try:
        for at in work:  # noqa: UP028 - `yield from` would close the work, too
            yield at
    except GeneratorExit:
        finish(work)
        raise


def finish(work: Operation[T]) -> T:
    """Do all of it, with nobody asked in between."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: T = stop.value
            return result


def _check_resize(
    image: OpenImage, capacity: int, *, shrink: bool, preallocation: Preallocation
) -> None:
    ways = _PREALLOCATED.get(image.driver)
    if ways is None:
        raise Unsupported(
            f"{image.name}: QEMU resizes no image of the format {image.format}; clone it to "
            "qcow2 or raw"
        )
    if preallocation not in ways:
        raise Unsupported(
            f"{image.name}: of an image of the format {image.format} nothing is allocated by "
            f"{preallocation!r}; choose one of {', '.join(ways)}"
        )
    if capacity >= image.capacity:
        return
    if image.driver == "qed":
        raise Unsupported(f"{image.name}: QEMU shrinks no image of the format qed")
    if not shrink:
        raise InvalidSpec(
            f"{image.name}: {capacity} bytes are less than its {image.capacity}, and what lies "
            "beyond would be lost; ask for it to be shrunk if that is meant"
        )


def _resize(image: OpenImage, capacity: int, how: str) -> Operation[None]:
    taken = Taken(image.fd)
    # What it grows by is the caller's word, and not the header's.
    limits = limits_for(workload(image) + max(0, capacity - image.capacity), image)
    with ExitStack() as undo:
        use = Arguments(undo)
        sectors = -(-capacity // 512)
        arguments = ["-q", how, use.file(image), str(sectors * 512)]
        yield from run(
            use, "resize", arguments, limits=limits, at=lambda _: Done(taken=taken.now())
        )


class _Before:
    """What an image was before it grew."""

    def __init__(self, image: OpenImage) -> None:
        self._image = image
        self.length = os.fstat(image.fd).st_size
        self._header = os.pread(image.fd, _HEADER, 0)

    def restore(self) -> None:
        """Have it be so again."""
        fd = self._image.fd
        match self._image.driver:
            case "qcow2":
                self._restore_qcow2()
            case "qed":  # all that a growth changes
                os.pwrite(fd, self._header[_QED_SIZE], _QED_SIZE.start)
            case _:  # luks: a header, and the rest of the file is what the guest sees
                os.ftruncate(fd, self.length)

    def _restore_qcow2(self) -> None:
        """Undo what a killed qemu-img did: its new size, if it came to write it, and clusters that
        it took and did not come to use.
        """
        image = self._image
        header = os.pread(image.fd, _HEADER, 0)
        if header[_QCOW2_SIZE] != self._header[_QCOW2_SIZE]:
            finish(_resize(image, image.capacity, "--shrink"))
        dirty = header[_QCOW2_VERSION] > 2 and header[_QCOW2_INCOMPATIBLE] & _QCOW2_DIRTY  # noqa: PLR2004
        found = finish(check(image, repair="all" if dirty else "leaks"))
        end = max(found.end or 0, self.length)
        if found.corruptions == found.leaks == 0 and end < os.fstat(image.fd).st_size:
            os.ftruncate(image.fd, end)
