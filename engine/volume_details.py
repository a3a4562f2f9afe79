"""All that is known of a volume: what its document tells."""

from __future__ import annotations

from dataclasses import dataclass

from volary.engine.volume_info import VolumeInfo


@dataclass(frozen=True, slots=True)
class Inode:
    """What the kernel says of a file or a device node; times in nanoseconds since the epoch.

    mode: permission bits; label: SELinux's; None without.
    changed: of the inode; born: None where the file system does not keep it.
    """

    mode: int
    owner: int
    group: int
    label: str | None
    accessed: int
    modified: int
    changed: int
    born: int | None


@dataclass(frozen=True, slots=True)
class VolumeExtent:
    """Where a part of a volume is: bytes of a device, `end` being the first behind it."""

    device: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class BackingDetails:
    """What is known of the image below a volume.

    path: where it is, without links; its name in the header where that is no local path.
    format: None where the header says none, and nobody looked.
    inode: None where it is no volume of an active pool, and so was not looked at.
    """

    path: str
    format: str | None
    inode: Inode | None = None


@dataclass(frozen=True, slots=True)
class VolumeDetails:
    """All that is known of a volume.

    key, path: as of `Volume`.
    inode: None of what has none, such as a network volume.
    backing: the image below; a backend, which knows only its own pool, leaves it out.
    extents: where it is on the pool's devices, for pools that know.
    """

    info: VolumeInfo
    key: str
    path: str
    inode: Inode | None = None
    backing: BackingDetails | None = None
    extents: tuple[VolumeExtent, ...] = ()
