"""Running qemu-img on opened images."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Container, Sequence
from typing import Final

from volary.engine.errors import ToolFailed, VolumeBusy, VolumeUnreadable
from volary.engine.formats import process
from volary.engine.formats.open_image import Arguments, OpenImage
from volary.engine.formats.process import Limits, Tool
from volary.engine.progress import Done, Operation

_QEMU_IMG: Final = Tool("qemu-img", "qemu-utils")

_CPU_SECONDS = 30
_CPU_SECONDS_A_GIB = 120
"""What OpenStack grants for a look at an image, and for each gibibyte of data four times what the
slowest work takes: deciphering with one cipher and enciphering with another in software."""

_SMALLEST_WORKLOAD = 1 << 30
_LARGEST_EXPANSION = 256
"""Bytes that the guest sees for one on disk, and bytes that may be worked through in any case.

A header can claim any capacity, and its tables can point to one cluster a billion times: only what
is on disk costs the one who brought it. Compression makes whole disks two or three times smaller.
Deflate makes a repeated byte 1000 times smaller, and qcow2 with clusters of 64 KiB 660 times: an
image of nothing else gets 46 seconds for each gibibyte here, and takes 1 to be inflated."""

_MEMORY = 1 << 30
_MEMORY_AN_IMAGE = 64 << 20
"""Bytes of address space: OpenStack's, and for each image in a chain QEMU's tables and their
cache, 32 MiB each at the most (QCOW_MAX_L1_SIZE, DEFAULT_L2_CACHE_MAX_SIZE)."""

_PASSED_ON = {os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)}
"""Errors of the system that are worth being told from others."""

_SHOWN = 500
"""Characters of qemu-img's last words that an error shows."""


def run(
    use: Arguments,
    command: str,
    arguments: Sequence[str],
    *,
    limits: Limits,
    at: Callable[[bytes], Done] = lambda _: Done(),
    accept: Container[int] = (0,),
) -> Operation[bytes]:
    """Run qemu-img, and raise what is behind its failure."""
    try:
        return (
            yield from process.run(
                _QEMU_IMG,
                [command, *use.objects, *arguments],
                limits=limits,
                fds=use.fds,
                at=at,
                accept=accept,
            )
        )
    except ToolFailed as error:
        words = use.named(str(error))
    for reason, number in _PASSED_ON.items():
        if words.endswith(reason):
            raise OSError(number, reason)
    words = words[:_SHOWN]
    # What QEMU asks when a lock of another program's (fcntl(2), F_OFD_SETLK) is in the way.
    if "Is another process using the image" in words:
        raise VolumeBusy(f"{words} Stop the program that has it open")
    if "Invalid password" in words:
        raise VolumeUnreadable(f"the secret is not the one that opens the image: {words}")
    raise ToolFailed(words)


def allocated(fd: int) -> int:
    """Return the bytes that an open file takes on disk, or those of a block device."""
    answer = os.fstat(fd)
    if stat.S_ISBLK(answer.st_mode):
        return os.lseek(fd, 0, os.SEEK_END)
    # Some file systems in user space count none. Where there is none, nothing takes time.
    return answer.st_blocks * 512 or answer.st_size


def workload(image: OpenImage) -> int:
    """Return how many bytes of what the guest sees are to be believed to be work.

    The rest of its capacity is unallocated, which takes no time, or else is meant to take it.
    """
    on_disk = sum(allocated(part.fd) for part in image.chain())
    return min(image.capacity, max(_SMALLEST_WORKLOAD, _LARGEST_EXPANSION * on_disk))


def limits_for(size: int, *images: OpenImage) -> Limits:
    """Return what a program may take that works over `size` bytes, in chains of these images.

    size: what the caller asked for, or the `workload` of an image; never a header's word alone.
    """
    count = sum(1 for image in images for _ in image.chain())
    return Limits(
        _CPU_SECONDS + (size * _CPU_SECONDS_A_GIB >> 30), _MEMORY + count * _MEMORY_AN_IMAGE
    )


class Taken:
    """Counts what a file takes from the file system beyond what it had."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before = os.fstat(fd).st_blocks

    def now(self) -> int:
        """Return the bytes taken so far."""
        return max(0, os.fstat(self._fd).st_blocks - self._before) * 512
