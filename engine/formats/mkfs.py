"""Making file systems."""

from __future__ import annotations

from typing import Final, NamedTuple

from volary.engine.formats import process
from volary.engine.formats.process import Limits, Tool
from volary.engine.progress import Operation

_LIMITS = Limits(cpu=600, memory=1 << 30)
"""Their tables take up to a mebibyte for each gibibyte where they are written at once, and hardly
any memory."""


class _Maker(NamedTuple):
    tool: Tool
    options: tuple[str, ...]


_MAKERS: Final = {
    **{
        # -F: also when it is no block device, or has no partition table above it.
        name: _Maker(Tool(f"mkfs.{name}", "e2fsprogs"), ("-q", "-F"))
        for name in ("ext2", "ext3", "ext4")
    },
    "xfs": _Maker(Tool("mkfs.xfs", "xfsprogs", first_words=True), ("-q", "-f")),
    "btrfs": _Maker(Tool("mkfs.btrfs", "btrfs-progs"), ("-q", "-f")),
    # -I: also on a whole disk.
    "vfat": _Maker(Tool("mkfs.vfat", "dosfstools"), ("-I",)),
}

FORMATS: Final = tuple(_MAKERS)
"""The file systems that can be made."""


def make(device: str, format: str) -> Operation[None]:  # noqa: A002 - libvirt's word
    """Make a file system over whatever is on the device or image.

    format: one of `FORMATS`.

    Closed early, the program is killed, and what is on the device then is nothing to rely on.
    """
    maker = _MAKERS[format]
    yield from process.run(maker.tool, [device, *maker.options], limits=_LIMITS)
