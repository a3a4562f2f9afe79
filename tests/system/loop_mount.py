"""File systems of a test's own, in small files mounted as loop devices."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20

NeedTool = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file system, and what it can do.

    make: the command that formats a file, with the Debian package that has it.
    mount: the type for mount(8), with its package when it is a program of its own (FUSE).
    size: bytes; those of xfs and btrfs are near the least that their tools accept.
    unnamed: whether it has O_TMPFILE, so that a half made volume has no name.
    reserves: whether it has fallocate(2).
    sparse: whether a file can have holes.
    """

    name: str
    make: tuple[str, ...] = ()
    package: str = ""
    mount: str = ""
    mount_package: str = ""
    options: str = ""
    size: int = 160 * MIB
    unnamed: bool = True
    reserves: bool = True
    sparse: bool = True


EXT4 = Kind(
    "ext4",
    ("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,nodiscard"),
    "e2fsprogs",
    options="commit=600",
)
# ext3 and ext2 are read by the driver of ext4, which reserves in none of them.
EXT3 = Kind("ext3", ("mkfs.ext3", *EXT4.make[1:]), "e2fsprogs", reserves=False)
EXT2 = Kind("ext2", ("mkfs.ext2", *EXT4.make[1:]), "e2fsprogs", reserves=False)
XFS = Kind("xfs", ("mkfs.xfs", "-q", "-f"), "xfsprogs", size=304 * MIB)
# commit=1: btrfs gives space back when it commits, and a test waits for that.
BTRFS = Kind(
    "btrfs", ("mkfs.btrfs", "-q", "-f"), "btrfs-progs", options="commit=1", size=256 * MIB
)
# A FUSE file system: no O_TMPFILE, no fallocate, no rename that replaces nothing.
NTFS = Kind(
    "ntfs",
    ("mkfs.ntfs", "-q", "-F", "-Q", "-p", "0", "-H", "16", "-S", "63", "-s", "512"),
    "ntfs-3g",
    mount="ntfs-3g",
    mount_package="ntfs-3g",
    unnamed=False,
    reserves=False,
)
# No O_TMPFILE, no links, no holes; vfat does have fallocate, but only to keep the size.
VFAT = Kind("vfat", ("mkfs.vfat",), "dosfstools", unnamed=False, reserves=False, sparse=False)
TMPFS = Kind("tmpfs")
OVERLAY = Kind("overlay")

KINDS = (EXT4, EXT3, EXT2, XFS, BTRFS, NTFS, VFAT, TMPFS, OVERLAY)


def kernel_has(kind: Kind) -> bool:
    """Say whether this kernel can mount it: built in, loaded, or a module that it would load.

    A missing tool can be installed; a missing driver cannot, so that nothing is collected for it.
    """
    if kind.mount_package:
        return os.path.exists("/dev/fuse")
    with open("/proc/filesystems", encoding="ascii") as known:
        if any(line.split()[-1] == kind.name for line in known):
            return True
    modules = Path("/lib/modules", os.uname().release, "modules.dep")
    return modules.exists() and f"/{kind.name}.ko" in modules.read_text()


def run(*command: str | Path, accept: Container[int] = (0,)) -> None:
    """Run a command; its words are the error unless it ends with a status to accept."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in accept, f"{command}: {done.stdout}{done.stderr}"


def make_image(kind: Kind, image: Path, need_tool: NeedTool, *more: str) -> None:
    """Format a new sparse file."""
    image.touch()
    os.truncate(image, kind.size)
    run(need_tool(kind.make[0], kind.package), *kind.make[1:], *more, image)


@contextmanager
def mounted(kind: str, source: Path | str, where: Path, options: str = "") -> Iterator[Path]:
    """Have `source` mounted on the new directory `where`."""
    where.mkdir()
    run("mount", "-t", kind, *(("-o", options) if options else ()), source, where)
    try:
        yield where
    finally:
        # Fails when a descriptor was left open in it: that is a defect, too.
        run("umount", where)


@contextmanager
def file_system(kind: Kind, folder: Path, need_tool: NeedTool) -> Iterator[Path]:
    """Have an empty file system of that kind mounted below `folder`."""
    if kind is TMPFS:
        with mounted("tmpfs", "none", folder / "mount", f"size={kind.size}") as where:
            yield where
    elif kind is OVERLAY:
        (folder / "below").mkdir()
        with file_system(EXT4, folder / "below", need_tool) as upper:
            for name in ("lower", "upper", "work"):
                (upper / name).mkdir()
            options = f"lowerdir={upper}/lower,upperdir={upper}/upper,workdir={upper}/work"
            with mounted("overlay", "none", folder / "mount", options) as where:
                yield where
    else:
        if kind.mount_package:
            need_tool("mount." + kind.mount, kind.mount_package)
        image = folder / "image"
        make_image(kind, image, need_tool)
        options = ",".join(filter(None, ("loop", kind.options)))
        with mounted(kind.mount or kind.name, image, folder / "mount", options) as where:
            yield where
