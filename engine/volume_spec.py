"""What a volume is to be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from volary.engine.encryption import Encryption
from volary.engine.errors import ConflictingValues, InvalidSpec
from volary.engine.image_info import BackingFile
from volary.engine.mode import Mode, check_id, parse_mode
from volary.engine.names import character_problem, check_name, check_text
from volary.engine.pool_type import PARTITION_FORMATS
from volary.engine.secret import Secret
from volary.engine.shown import shown
from volary.engine.size import Size, parse_size
from volary.engine.volume_format import (
    BACKING_FORMATS,
    DEFAULT_CLUSTER_SIZE,
    IMAGE_FORMATS,
    VOLUME_FORMATS,
    VolumeFormat,
    qcow2_longest_name,
)

Preallocation: TypeAlias = Literal["off", "metadata", "falloc", "full"]
"""How much of a volume is on disk when its creation returns."""

Compat: TypeAlias = Literal["0.10", "1.1"]
"""The version of a qcow2 as qemu-img names it: the QEMU that reads it."""

FORMATS = (*IMAGE_FORMATS, "dir")
"""Formats that a volume can be created in, where it is a file or a directory."""

_LONGEST_BACKING_NAME = 1023  # bytes; the qcow2 specification's, and QEMU's for the others
_NO_OPTIONS = (None,) * 7
_SMALLEST_EXTENDED = 16384  # bytes of a cluster whose subclusters are sectors, 512 bytes


# Asked for once: a specification is often checked.
_COMPATS = get_args(Compat)
_PREALLOCATIONS = get_args(Preallocation)


@dataclass(frozen=True, slots=True, init=False)
class VolumeSpec:
    """What a volume is to be.

    name: one path component, at most 255 bytes.
    capacity: bytes that the guest sees, or a string such as "8 GiB". Not given, that of the
        backing file or of the volume that it is cloned from. A raw volume has at least one byte;
        the other formats count in sectors of 512 bytes, and round up; vpc may go further, to a
        whole cylinder. A directory has none, whatever is given.
    allocation: bytes to have on disk from the start, at most `capacity`; all or nothing for
        other formats than raw. Not given: none for `preallocation` "off", "metadata" or not
        given, all of them for "falloc" and "full".
    format: one of `FORMATS`; in a pool of type "disk", one of `PARTITION_FORMATS`, which is what
        a partition is for.
    preallocation: "off" leaves the volume sparse; "metadata" has the tables of a qcow2 point to
        where its data will be; "falloc" reserves the allocation with fallocate(2), which reads as
        zeros; "full" writes it with zeros. Not given, an allocation above zero is fallocated, as
        libvirt does.
    backing: the image below an overlay (qcow2, qed, vmdk), as its header is to name it: a path,
        relative to the volume's directory or absolute, or a `BackingFile`.
    backing_format: the format of that; when it is not given, the engine looks.
    compat: "0.10" or "1.1" (if not given) for a qcow2; of no other format.
    cluster_size: bytes, a power of two: 512 to 2 MiB for qcow2, 4 KiB to 2 MiB for qed; 64 KiB if
        not given.
    lazy_refcounts: whether a qcow2 of compat "1.1" may postpone its reference counts.
    extended_l2: whether a qcow2 of compat "1.1" has subclusters. Of this, of `lazy_refcounts` and
        of `nocow`, False is kept as None.
    encryption: how a luks volume (always) or a qcow2 is encrypted.
    nocow: whether btrfs is to write the file in place.
    mode: permission bits, such as 0o640 or "0640"; 0600 if not given.
    owner, group: numeric ids; those of the process if not given.
    label: SELinux's, such as "system_u:object_r:virt_image_t:s0"; set where the host has SELinux.

    Raises `InvalidSpec` saying which part cannot be meant so.
    """

    name: str
    capacity: int | None
    allocation: int
    format: str
    preallocation: Preallocation
    backing: BackingFile | None
    compat: Compat | None
    cluster_size: int | None
    lazy_refcounts: bool | None
    extended_l2: bool | None
    encryption: Encryption | None
    nocow: bool | None
    mode: int | None
    owner: int | None
    group: int | None
    label: str | None

    def __init__(
        self,
        name: str,
        *,
        capacity: Size | None = None,
        allocation: Size | None = None,
        format: str = "raw",  # noqa: A002 - libvirt's word
        preallocation: Preallocation | None = None,
        backing: str | os.PathLike[str] | BackingFile | None = None,
        backing_format: str | None = None,
        compat: Compat | None = None,
        cluster_size: Size | None = None,
        lazy_refcounts: bool | None = None,
        extended_l2: bool | None = None,
        encryption: Encryption | None = None,
        nocow: bool | None = None,
        mode: Mode | None = None,
        owner: int | None = None,
        group: int | None = None,
        label: str | None = None,
    ) -> None:
        where = f"volume {name!r}"
        put = object.__setattr__
        put(self, "name", check_name(name, "volume"))
        put(self, "format", format)
        size = None if capacity is None else parse_size(capacity, f"{where}: capacity")
        put(self, "capacity", size)
        way, on_disk = _allocation(where, size, allocation, preallocation)
        put(self, "preallocation", way)
        put(self, "allocation", on_disk)
        put(self, "mode", None if mode is None else parse_mode(mode, f"{where}: mode"))
        put(self, "owner", check_id(owner, f"{where}: owner"))
        put(self, "group", check_id(group, f"{where}: group"))
        if label is not None:
            check_text(label, f"{where}: label")
        put(self, "label", label)
        # One meaning has one value, so that two specs that mean the same are equal.
        if format == "qcow2":
            compat = compat or "1.1"
            lazy_refcounts = None if lazy_refcounts is False else lazy_refcounts
            extended_l2 = None if extended_l2 is False else extended_l2
        put(self, "compat", compat)
        put(self, "lazy_refcounts", lazy_refcounts)
        put(self, "extended_l2", extended_l2)
        put(self, "encryption", encryption)
        put(self, "nocow", None if nocow is False else nocow)
        if cluster_size is not None:
            cluster_size = parse_size(cluster_size, f"{where}: cluster size")
        put(self, "cluster_size", cluster_size)
        put(self, "backing", _backing(where, backing, backing_format))
        options = (backing, compat, cluster_size, lazy_refcounts, extended_l2, encryption, nocow)
        # A plain raw volume, the commonest by far, needs no closer look.
        if format != "raw" or options != _NO_OPTIONS or way == "metadata" or size == 0:
            problem = _problem(self)
            if problem is not None:
                raise InvalidSpec(f"{where}: {problem}")

    def with_capacity(self, capacity: int) -> VolumeSpec:
        """Return the spec, with a capacity of so many bytes where it has none of its own.

        Raises `InvalidSpec` when a volume as specified cannot have it.
        """
        return self._with(capacity=capacity) if self.capacity is None else self

    def with_backing_format(self, format: str) -> VolumeSpec:  # noqa: A002 - libvirt's word
        """Return the spec, with this format of the backing file where it says none.

        Raises `InvalidSpec` when no backing file of the volume can have it.
        """
        if self.backing is None or self.backing.format is not None:
            return self
        return self._with(backing_format=format)

    def with_preallocation(self, preallocation: Preallocation) -> VolumeSpec:
        """Return the spec with another preallocation; raises `InvalidSpec` when it can have none
        such.
        """
        return self._with(preallocation=preallocation)

    def with_metadata(self) -> VolumeSpec:
        """Return the spec with the tables of a qcow2 preallocated, where it says nothing of it.

        Raises `ConflictingValues` for another format, and over a backing file that it would hide.
        """
        if self.format != "qcow2":
            raise ConflictingValues(
                f"volume {self.name!r}: preallocation of metadata is qcow2's, and a {self.format} "
                "volume has none; leave it out"
            )
        if self.backing is not None and not self.extended_l2:
            raise ConflictingValues(
                f"volume {self.name!r}: preallocation 'metadata' would hide the backing file; "
                "leave it out, or choose extended_l2"
            )
        return self.with_preallocation("metadata") if self.preallocation == "off" else self

    def with_secret(self, secret: Secret) -> VolumeSpec:
        """Return the spec with the passphrase that it is to be encrypted with; raises
        `InvalidSpec` when it is not to be.
        """
        if self.encryption is None:
            raise InvalidSpec(
                f"volume {self.name!r}: a secret is given, and nothing is to be encrypted with "
                "it; add an encryption, or leave it out"
            )
        return self._with(encryption=self.encryption.with_secret(secret))

    def _with(self, **changes: Any) -> VolumeSpec:
        options = {field: getattr(self, field) for field in self.__slots__}
        # "falloc" or "full" of no known capacity: as many bytes as it turns out to be.
        if self.allocation == 0 and self.preallocation in ("falloc", "full"):
            options["allocation"] = None
        return VolumeSpec(**(options | changes))


def _allocation(
    where: str, capacity: int | None, allocation: Size | None, preallocation: Preallocation | None
) -> tuple[Preallocation, int]:
    """Return how to preallocate and how many bytes: 0 for all of a capacity not known yet."""
    if preallocation is not None and preallocation not in _PREALLOCATIONS:
        known = ", ".join(_PREALLOCATIONS)
        raise InvalidSpec(f"{where}: unknown preallocation {shown(preallocation)}; known: {known}")
    if allocation is None:
        whole = preallocation in ("falloc", "full")
        return (preallocation or "off"), (capacity or 0 if whole else 0)
    size = parse_size(allocation, f"{where}: allocation")
    if capacity is not None and size > capacity:
        raise InvalidSpec(
            f"{where}: allocation, {size} bytes, is above the capacity, {capacity} bytes"
        )
    if size == 0:
        return ("metadata" if preallocation == "metadata" else "off"), 0
    if preallocation in ("off", "metadata"):
        raise InvalidSpec(
            f"{where}: preallocation {preallocation!r} leaves nothing allocated, yet allocation "
            f"is {size} bytes; leave one of the two out"
        )
    return (preallocation or "falloc"), size


def _backing(
    where: str, backing: str | os.PathLike[str] | BackingFile | None, format_: str | None
) -> BackingFile | None:
    """Return the backing file, whose name and format are such as a header can hold."""
    if backing is None:
        if format_ is None:
            return None
        raise InvalidSpec(
            f"{where}: a backing format, {shown(format_)}, without a backing file; give both or "
            "neither"
        )
    if isinstance(backing, BackingFile):
        name, own_format = backing.name, backing.format
        if format_ is not None and own_format not in (None, format_):
            raise InvalidSpec(
                f"{where}: backing format {shown(format_)}, yet the backing file says "
                f"{shown(own_format)}; leave one of the two out"
            )
        format_ = format_ or own_format
    else:
        name = os.fspath(backing) if isinstance(backing, os.PathLike) else backing
    if not isinstance(name, str) or not name:
        raise InvalidSpec(f"{where}: backing file {name!r} is no path; give a string")
    problem = character_problem(name)
    if problem is not None:
        raise InvalidSpec(f"{where}: backing file {name[:64]!r} {problem}")
    length = len(name.encode())
    if length > _LONGEST_BACKING_NAME:
        raise InvalidSpec(f"{where}: {_too_long(length, _LONGEST_BACKING_NAME)}")
    if format_ is not None and not (isinstance(format_, str) and format_ in BACKING_FORMATS):
        known = ", ".join(sorted(BACKING_FORMATS))
        raise InvalidSpec(f"{where}: unknown backing format {shown(format_)}; known: {known}")
    return BackingFile(name, format_)


def _too_long(length: int, longest: int) -> str:
    return (
        f"the backing file's name has {length} bytes, and the header has room for {longest}; "
        "give a path relative to the volume's directory, or larger clusters"
    )


def _problem(spec: VolumeSpec) -> str | None:
    """Return what the format of `spec` cannot be of what it asks, or None."""
    wanted: object = spec.format
    format_ = VOLUME_FORMATS.get(wanted) if isinstance(wanted, str) else None
    if format_ is None:
        return f"unknown format {shown(spec.format)}; known: {', '.join(FORMATS)}"
    return (
        _option_problem(spec)
        or _cluster_problem(spec, format_)
        or _encryption_problem(spec, format_)
        or _backing_problem(spec, format_)
        or _amount_problem(spec, format_)
        or _capacity_problem(spec, format_)
    )


def _option_problem(spec: VolumeSpec) -> str | None:
    for option in ("lazy_refcounts", "extended_l2", "nocow"):
        value = getattr(spec, option)
        if value is not None and not isinstance(value, bool):
            return f"{option} {value!r} is neither True nor False"
    if spec.compat is not None and spec.compat not in _COMPATS:
        return f"unknown compat {shown(spec.compat)}; known: {', '.join(_COMPATS)}"
    for option in ("compat", "lazy_refcounts", "extended_l2"):
        if spec.format != "qcow2" and getattr(spec, option) is not None:
            return f"{option} is an option of qcow2, and the format is {spec.format}"
        if spec.compat == "0.10" and option != "compat" and getattr(spec, option):
            return f"{option} needs compat '1.1', and compat is '0.10'"
    return None


def _cluster_problem(spec: VolumeSpec, format_: VolumeFormat) -> str | None:
    size = spec.cluster_size
    if size is not None:
        if format_.cluster_sizes is None:
            return f"cluster_size is an option of qcow2 and qed, and the format is {spec.format}"
        smallest, largest = format_.cluster_sizes
        if not smallest <= size <= largest or size & (size - 1):
            return (
                f"cluster size, {size} bytes, is no power of two from {smallest} to {largest}, "
                f"as {spec.format} needs"
            )
        if spec.extended_l2 and size < _SMALLEST_EXTENDED:
            return (
                f"extended_l2 needs clusters of at least {_SMALLEST_EXTENDED} bytes, and "
                f"cluster size is {size}"
            )
    return None


def _encryption_problem(spec: VolumeSpec, format_: VolumeFormat) -> str | None:
    encryption: object = spec.encryption
    if encryption is None:
        if format_.always_encrypted:
            return f"a {spec.format} volume needs encryption; give an Encryption with its secret"
        return None
    if not isinstance(encryption, Encryption):
        return f"encryption is a {type(encryption).__name__}; give an Encryption"
    if not format_.encryption:
        return f"no {spec.format} volume can be encrypted; use the format luks or qcow2"
    return None


def _backing_problem(spec: VolumeSpec, format_: VolumeFormat) -> str | None:
    if spec.backing is None:
        return None
    if not format_.has_backing:
        return f"a {spec.format} volume has no backing file; use the format qcow2"
    if spec.format == "vmdk" and spec.backing.format not in (None, "vmdk"):
        return f"the backing file of a vmdk is a vmdk, and its format is {spec.backing.format}"
    if spec.format == "qcow2":
        longest = qcow2_longest_name(
            spec.cluster_size or DEFAULT_CLUSTER_SIZE,
            compat=spec.compat,
            format_name=spec.backing.format or "",
        )
        length = len(spec.backing.name.encode())
        if length > longest:
            return _too_long(length, longest)
    if spec.preallocation != "off" and not spec.extended_l2:
        return (
            f"preallocation {spec.preallocation!r} would hide the backing file; leave it out, or "
            "choose extended_l2, whose subclusters can be on disk and yet read the backing file"
        )
    return None


def _amount_problem(spec: VolumeSpec, format_: VolumeFormat) -> str | None:
    """Return what is wrong with how much of the volume is on disk."""
    if spec.preallocation not in format_.preallocation:
        if spec.preallocation == "metadata":
            return (
                f"preallocation of metadata is qcow2's, and a {spec.format} volume has none; "
                "choose another preallocation"
            )
        return (
            f"a {spec.format} volume begins with nothing allocated; leave allocation and "
            "preallocation out, or use the format qcow2 or raw"
        )
    capacity = spec.capacity
    partial = spec.format == "raw" or spec.format in PARTITION_FORMATS
    if not partial and capacity is not None and spec.allocation not in (0, capacity):
        return (
            f"allocation, {spec.allocation} bytes, is a part of the capacity, {capacity} bytes; "
            f"of a {spec.format} volume all can be allocated or nothing"
        )
    return None


def _capacity_problem(spec: VolumeSpec, format_: VolumeFormat) -> str | None:
    capacity = spec.capacity
    if capacity == 0 and spec.format == "raw":
        return "capacity is 0; a raw volume has at least one byte"
    if capacity is None or format_.largest is None:
        return None
    cluster_size = spec.cluster_size or DEFAULT_CLUSTER_SIZE
    largest = format_.largest(cluster_size)
    if spec.extended_l2:
        largest //= 2  # its entries take twice the room
    if capacity <= largest:
        return None
    clusters = help_ = ""
    if format_.cluster_sizes is not None:
        clusters = f" with clusters of {cluster_size} bytes"
        help_ = "larger clusters or " if cluster_size < format_.cluster_sizes[1] else ""
    return (
        f"capacity, {capacity} bytes, is above the {largest} bytes that a {spec.format} volume"
        f"{clusters} can have; choose {help_}a smaller capacity"
    )
