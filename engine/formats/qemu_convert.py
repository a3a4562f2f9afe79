"""Copying what the guest sees from one image to another with qemu-img."""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack

from volary.engine.formats.image_size import largest_size, measured_unit
from volary.engine.formats.open_image import Arguments, OpenImage
from volary.engine.formats.qemu_img import Taken, limits_for, run, workload
from volary.engine.progress import Done, Operation
from volary.engine.volume_spec import VolumeSpec

_PERCENT = re.compile(rb"\(([0-9]{1,3}\.[0-9]{2})/100%\)")


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
        # What was allocated was asked for.
        files = [use.file(source), use.file(target, keep_space=True)]
        # -W: the target's clusters need be in no order. What the default "unsafe" cache mode
        # leaves out are flushes.
        options = ["-p", "-n", "-W", "-O", target.driver]
        # An overlay's zeros have to hide what is below, and zeros on disk decipher to noise.
        if target_is_zero and target.backing is None and target.secret is None:
            options.append("--target-is-zero")
        # To encipher zeros is work, too, that only the target's length bounds: its space is real.
        size = source.capacity if target.driver == "luks" else workload(source)
        limits = limits_for(size, source, target)
        yield from run(use, "convert", [*options, *files], limits=limits, at=at)
    yield Done(source.capacity, source.capacity, taken.now())
    # QEMU writes whole sectors, also the last one of a raw image that ends within it.
    if target.driver == "raw" and os.fstat(target.fd).st_size > length:
        os.ftruncate(target.fd, length)


def measure(source: OpenImage, spec: VolumeSpec) -> Operation[int]:
    """Return how many bytes a copy of `source` as the volume `spec` takes on disk, at the most.

    All that the chain of `source` holds is counted as it is written: compressed clusters inflated,
    and one that tables point to many times as often. What the file system needs for itself is
    included. Reads the tables and no data, and takes nothing.

    spec: its capacity is that of `source`, or larger; without one, that of `source`.

    Raises `ToolMissing`, `ToolFailed`, also when it takes longer than what the chain has on disk
    lets believe, and `VolumeBusy`.
    """
    spec = spec.with_capacity(source.capacity)
    if spec.format == "luks":
        return largest_size(spec, source.capacity)
    unit = measured_unit(spec, source.capacity)
    if unit is None:
        return largest_size(spec, source.capacity)
    with ExitStack() as undo:
        use = Arguments(undo)
        # qemu-img measures no formats but this and raw, of which it tells the capacity. The data
        # is the same in all; of the tables it tells only how large those of the whole would be.
        options = ["--output=json", "-O", "qcow2", "-o", f"cluster_size={unit}", use.file(source)]
        limits = limits_for(workload(source), source)
        answer = json.loads((yield from run(use, "measure", options, limits=limits)))
    whole = -(-source.capacity // unit) * unit
    data = whole - int(answer["fully-allocated"]) + int(answer["required"])
    return largest_size(spec, max(0, data))
