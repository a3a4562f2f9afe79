"""A volume's backing chain: the image, the one below it, and so on."""

from __future__ import annotations

from dataclasses import dataclass

from volary.engine.volume_info import VolumeInfo

MAX_DEPTH = 200
"""Images of a chain that are looked at: libvirt's bound, too."""

MAX_OPENED = 32
"""Images of a chain that are read together, by a clone or a resize: each one may have QEMU take
tens of megabytes of memory for its tables, however small its file is."""


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One image of a backing chain.

    name: the backing file's name as the image above has it in its header; of the first one, its
        path.
    path: where it is; None when the name is no local path, such as "nbd://host/export".
    format: what it is read as: what the image above says, or else what its pool says; None when
        nobody knows.
    pool, volume: the names of the pool and the volume that it is; None when it is none.
    info: what is known of it; None when it was not looked at.
    problem: why the chain ends here though the image needs more, as a sentence; None when it
        ends as it should, or goes on.

    Only volumes of active pools are looked at: nothing else is opened because of a header.
    """

    name: str
    path: str | None
    format: str | None
    pool: str | None = None
    volume: str | None = None
    info: VolumeInfo | None = None
    problem: str | None = None
