"""What a file system promises about a name that was just given, and how a directory is synced."""

from __future__ import annotations

import os
from enum import Enum

from volary.engine.mounts import mount_of


class NameSync(Enum):
    """Which one fsync(2), after the link, puts a new file's name and inode on disk.

    DIRECTORY: that of the directory. All metadata goes through one journal in order (ext3 and
        ext4 with a journal, xfs): the transaction that is forced holds the link or follows the
        one that does, and none is forced before those that came earlier.
    FILE: that of the file. ext4's driver without a journal writes the inode, and the directory
        that a new name of it is in (ext4_sync_parent in fs/ext4/fsync.c); of the directory alone
        it would not write the file's inode. btrfs logs a file's new names with it
        (btrfs_log_new_name in fs/btrfs/tree-log.c), and apart from that of the directory.
    NEITHER: ext2, vfat, NFS, FUSE, and what we do not know: the
        file is synced before and after, and then the directory.
    """

    DIRECTORY = "directory"
    FILE = "file"
    NEITHER = "neither"


def sync_directory(path: str) -> None:
    """Put on disk what was named, renamed or removed in the directory `path` (fsync(2))."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def name_sync(fd: int) -> NameSync:
    """Return what holds for the file system of the directory `fd`."""
    match file_system_type(fd):
        case "xfs":
            return NameSync.DIRECTORY
        case "btrfs":
            return NameSync.FILE
        case "ext3" | "ext4":
            return _ext4(os.fstat(fd).st_dev)
        case _:
            return NameSync.NEITHER


def shares_blocks(fd: int) -> bool:
    """Say whether files on the file system of `fd` can share blocks (ioctl_ficlone(2))."""
    return file_system_type(fd) in ("btrfs", "xfs", "bcachefs", "ocfs2")


def file_system_type(fd: int) -> str:
    """Return what the kernel calls the file system of `fd`, or ""."""
    try:
        mount = mount_of(fd)
    except OSError:
        mount = None
    return mount.type if mount is not None else ""


def _ext4(number: int) -> NameSync:
    """Ask sysfs whether there is a journal (Documentation/ABI/testing/sysfs-fs-ext4)."""
    device = f"{os.major(number)}:{os.minor(number)}"
    try:
        name = os.path.basename(os.readlink(f"/sys/dev/block/{device}"))
        with open(f"/sys/fs/ext4/{name}/journal_task", encoding="ascii") as journal:
            return NameSync.FILE if journal.read().strip() == "<none>" else NameSync.DIRECTORY
    except (OSError, ValueError):
        return NameSync.NEITHER
