"""What an image's header says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackingFile:
    """The image below an overlay, as the overlay's header names it.

    name: a path, relative to the overlay's directory or absolute, or what QEMU takes instead of
        one, such as "json:{…}" or "nbd://host/export".
    format: the format that the header says it has; None when it says none.
    """

    name: str
    format: str | None = None


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image's header says; sizes in bytes.

    format: "qcow2", "vmdk" and so on; "raw" for what is nothing else.
    capacity: what the guest sees; of a raw image, the file's size.
    cluster_size: the unit that the image is allocated in; None where the format has none.
    compat: of a qcow2, "0.10" (version 2) or "1.1" (version 3), as qemu-img names them.
    lazy_refcounts, extended_l2: features of a qcow2.
    encryption: "luks", or "aes" for the old one of qcow and qcow2; None when it is not encrypted.
    backing: the image below; None when there is none.
    data_file: the name of the file that a qcow2, or the descriptor of a vmdk, has its data in;
        None when they are in the image itself.
    problem: why the header cannot be believed, as a sentence; None when it can.
    """

    format: str
    capacity: int
    cluster_size: int | None = None
    compat: str | None = None
    lazy_refcounts: bool = False
    extended_l2: bool = False
    encryption: str | None = None
    backing: BackingFile | None = None
    data_file: str | None = None
    problem: str | None = None
