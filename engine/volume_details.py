"""All that is known of a volume: what its document tells."""

from __future__ import annotations

from dataclasses import dataclass

from volary.engine.volume_info import VolumeInfo


@dataclass(frozen=True, slots=True)
class Inode:
    """What the kernel says of a file or a device node; times in nanoseconds since the epoch.

    label: SELinux's; None without.
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
class VolumeDetails:
    """All that is known of a volume.

    key, path: as of `Volume`.
    inode: None of what has none, such as a network volume.
    backing: the inode of the image below, where that is a volume that can be looked at.
    extents: where it is on the pool's devices, for pools that know.
    """

    info: VolumeInfo
    key: str
    path: str
    inode: Inode | None = None
    backing: Inode | None = None
    extents: tuple[VolumeExtent, ...] = ()
