"""Copying what the guest sees from one image to another with qemu-img."""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack
from typing import Final

from volary.engine.formats.open_image import Arguments, OpenImage
from volary.engine.formats.qemu_img import Taken, limits_for, run
from volary.engine.progress import Done, Operation
from volary.engine.volume_format import DEFAULT_CLUSTER_SIZE
from volary.engine.volume_spec import VolumeSpec

_PERCENT = re.compile(rb"\(([0-9]{1,3}\.[0-9]{2})/100%\)")

_UNITS: Final = {"vdi": 1 << 20, "vpc": 2 << 20}
"""Bytes of a block of the formats that have larger ones than 64 KiB."""

_LUKS_HEADER = 2 << 20
"""Bytes of a LUKS header with its eight key slots, rounded up."""


def convert(
    source: OpenImage, target: OpenImage, *, target_is_zero: bool = True
) -> Operation[None]:
    """Copy what the guest sees of `source` into the image `target`, which is at least as large.

    What is zero stays sparse where the target is. Nothing is synced: that is the caller's.
    Progress is in bytes of the source's capacity.

    target: made before by `create`, by another module, or by ftruncate(2); with its backing file
        when it is an overlay.
    target_is_zero: whether all of it reads as zeros, so that they need not be written; of no
        account for an overlay and an encrypted image.

    Raises `ToolMissing`, `ToolFailed`, `VolumeBusy` when another program has one of the images
    open so that it excludes this one, and OSError with ENOSPC, EDQUOT or EFBIG.
    """
    length = os.fstat(target.fd).st_size
    taken = Taken(target.fd)

    def at(output: bytes) -> Done:
        found = _PERCENT.findall(output)
        done = int(source.capacity * float(found[-1]) / 100) if found else 0
        return Done(done, source.capacity, taken.now())

    with ExitStack() as undo:
        use = Arguments(undo)
        files = [use.file(source), use.file(target)]
        # -W: the target's clusters need be in no order. What the default "unsafe" cache mode
        # leaves out are flushes.
        options = ["-p", "-n", "-W", "-O", target.driver]
        # An overlay's zeros have to hide what is below, and zeros on disk decipher to noise.
        if target_is_zero and target.backing is None and target.secret is None:
            options.append("--target-is-zero")
        limits = limits_for(source.capacity, source, target)
        yield from run(use, "convert", [*options, *files], limits=limits, at=at)
    yield Done(source.capacity, source.capacity, taken.now())
    # QEMU writes whole sectors, also the last one of a raw image that ends within it.
    if target.driver == "raw" and os.fstat(target.fd).st_size > length:
        os.ftruncate(target.fd, length)


def measure(source: OpenImage, spec: VolumeSpec) -> Operation[int]:
    """Return how many bytes a copy of `source` as the volume `spec` takes on disk, at the most.

    It is the size of a qcow2 with clusters as large as the format's: qemu-img measures no others.
    """
    if spec.format == "luks":
        return max(source.capacity, spec.capacity or 0) + _LUKS_HEADER
    size = spec.cluster_size or _UNITS.get(spec.format, DEFAULT_CLUSTER_SIZE)
    with ExitStack() as undo:
        use = Arguments(undo)
        options = ["--output=json", "-O", "qcow2", "-o", f"cluster_size={size}", use.file(source)]
        limits = limits_for(source.capacity, source)
        output = yield from run(use, "measure", options, limits=limits)
    required = int(json.loads(output)["required"])
    return required + (_LUKS_HEADER if spec.encryption is not None else 0)
