"""Checking and repairing images with qemu-img."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

from volary.engine.errors import Unsupported
from volary.engine.formats.open_image import Arguments, OpenImage
from volary.engine.formats.qemu_img import allocated, limits_for, run
from volary.engine.progress import Operation


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found.

    corruptions: errors that data may be lost by.
    leaks: clusters that are in use by the reference counts only.
    end: bytes of the file that the image takes; None when its format does not tell.
    """

    corruptions: int = 0
    leaks: int = 0
    end: int | None = None


def check(image: OpenImage, *, repair: Literal["leaks", "all"] | None = None) -> Operation[Check]:
    """Check the tables of a qcow2, qed, vdi, vmdk, vhdx or parallels image, and repair them.

    What is returned was found after the repair.

    Raises `Unsupported` for other formats, `ToolMissing`, `ToolFailed` and `VolumeBusy`.
    """
    if image.driver not in ("qcow2", "qed", "vdi", "vmdk", "vhdx", "parallels"):
        raise Unsupported(f"{image.name}: an image of the format {image.format} has no check")
    with ExitStack() as undo:
        use = Arguments(undo)
        repairing = [] if repair is None else ["-r", repair]
        arguments = ["--output=json", *repairing, use.file(image)]
        # The reference counts are counted in memory: 2 bytes for a cluster of 512 at the most.
        size = allocated(image.fd)
        limits = limits_for(size, image)
        limits = limits._replace(memory=limits.memory + size // 256)
        # qemu-img(1): 2 and 3 are corruptions and leaks that were found and not repaired.
        output = yield from run(use, "check", arguments, limits=limits, accept=(0, 2, 3))
    found = json.loads(output)
    return Check(found.get("corruptions", 0), found.get("leaks", 0), found.get("image-end-offset"))
