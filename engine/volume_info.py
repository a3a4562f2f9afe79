"""What is known of a volume."""

from __future__ import annotations

from dataclasses import dataclass

from volary.engine.image_info import ImageInfo


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """What is known of a volume; sizes in bytes.

    name: its name in the pool.
    type: "file", "dir" for a directory, or "block" for a partition or another device.
    format: "raw", "qcow2" and so on; "dir" for a directory; of a partition, what it is for.
    capacity: what the guest sees.
    allocation: what it takes on disk.
    physical: the size of the file that holds it.
    modified: when the file was last written to, in nanoseconds since the epoch.
    trusted: whether its backing file is the one that it was created with here, and not what
        somebody else's header says.
    image: what its header says; None when that is nothing beyond the above, as of a raw volume.
    """

    name: str
    capacity: int
    allocation: int
    physical: int
    type: str = "file"
    format: str = "raw"
    modified: int = 0
    trusted: bool = False
    image: ImageInfo | None = None
