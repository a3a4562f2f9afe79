"""What is known of a volume."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """What is known of a volume; sizes in bytes.

    name: its name in the pool.
    type: "file".
    format: "raw".
    capacity: what the guest sees.
    allocation: what it takes on disk.
    physical: the size of the file that holds it.
    """

    name: str
    capacity: int
    allocation: int
    physical: int
    type: str = "file"
    format: str = "raw"
