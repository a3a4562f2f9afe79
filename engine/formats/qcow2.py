"""The qcow2 format: creation, version 2 (compat 0.10) and version 3 (compat 1.1).

Every number here is that of the specification, docs/interop/qcow2.txt of QEMU.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from functools import lru_cache
from struct import Struct, pack
from typing import Any, NamedTuple

from volary.engine.errors import InvalidSpec
from volary.engine.formats import raw
from volary.engine.formats.direct_io import DirectFile
from volary.engine.formats.qcow2_layout import POINTER, REFCOUNT, Layout, layout_of, whole_blocks
from volary.engine.image_info import ImageInfo
from volary.engine.progress import Done, Operation
from volary.engine.volume_format import QCOW2_HEADERS
from volary.engine.volume_spec import VolumeSpec

_PIECE = 1 << 20
"""Bytes of tables made and written at a time: about 3 ms."""

_VERSION_2 = Struct(">4sIQIIQIIQQIIQ")
_VERSION_3 = Struct(">QQQIIB7x")  # what is behind the 72 bytes of version 2, compression included

_COPIED = 1 << 63
"""In an entry of an L1 or L2 table: the cluster has a reference count of one."""

_LAZY_REFCOUNTS = 1 << 0  # a compatible feature
_EXTENDED_L2 = 1 << 4  # an incompatible one
_REFCOUNT_ORDER = 4  # 1 << 4 bits

_BACKING_FORMAT = 0xE2792ACA  # types of header extensions
_FEATURE_NAMES = 0x6803F857

_INCOMPATIBLE, _COMPATIBLE, _AUTOCLEAR = range(3)

_NAMES = b"".join(
    pack(">BB46s", kind, bit, name)
    for kind, bit, name in [
        (_INCOMPATIBLE, 0, b"dirty bit"),
        (_INCOMPATIBLE, 1, b"corrupt bit"),
        (_INCOMPATIBLE, 2, b"external data file"),
        (_INCOMPATIBLE, 3, b"compression type"),
        (_INCOMPATIBLE, 4, b"extended L2 entries"),
        (_COMPATIBLE, 0, b"lazy refcounts"),
        (_AUTOCLEAR, 0, b"bitmaps"),
        (_AUTOCLEAR, 1, b"raw external data"),
    ]
)
"""The feature name table: by it a program says what it misses when it does not know a feature."""


def measure(spec: VolumeSpec) -> int:
    """Return the bytes that the image takes from a file system of blocks of 4096 bytes.

    Raises `InvalidSpec` when there can be no such image.
    """
    layout = layout_of(spec)
    filled = spec.preallocation in ("falloc", "full")
    return layout.on_disk + (whole_blocks(layout.end - layout.data_offset) if filled else 0)


def describe(spec: VolumeSpec) -> ImageInfo:
    """Return what the header of the image says that `create` makes."""
    return _sparse_as(spec).header


def create(fd: int, spec: VolumeSpec) -> Operation[bool]:
    """Make the empty file `fd` the qcow2 image that `spec` asks for, its capacity known.

    A capacity that is no multiple of 512 is rounded up, as qemu-img rounds it. Encryption is not
    done here. Returns whether anything was written, which is always so.

    Raises `InvalidSpec` when there can be no such image, and writes nothing then.
    """
    if spec.encryption is not None:
        raise InvalidSpec(f"volume {spec.name!r}: encrypted, it is not made here but by qemu-img")
    file = DirectFile(fd, direct=False)
    if spec.preallocation == "off":
        sparse = _sparse_as(spec)
        os.ftruncate(fd, sparse.size)
        for offset, piece in sparse.pieces:
            file.write(memoryview(piece), offset)
        return True
    layout = layout_of(spec)
    os.ftruncate(fd, layout.end)
    tables = sum(layout.tables)
    filled = spec.preallocation in ("falloc", "full")
    data = layout.end - layout.data_offset if filled else 0
    done = 0
    for offset, piece in _metadata(spec, layout):
        file.write(memoryview(piece), offset)
        if offset:  # the header does not count
            done += len(piece)
            yield Done(done, tables + data, done)
    if data:
        work = raw.allocate(fd, layout.data_offset, layout.end, preallocation=spec.preallocation)
        for step in work:
            if isinstance(step, Done):
                yield Done(tables + step.done, tables + data, tables + step.taken)
            else:
                yield step
    return True


class _Sparse(NamedTuple):
    """A sparse image: its size, what is written to it and where, and what its header says."""

    size: int
    pieces: tuple[tuple[int, bytes], ...]
    header: ImageInfo


def _sparse_as(spec: VolumeSpec) -> _Sparse:
    """Return the sparse image with all that `spec` asks for but its preallocation."""
    if spec.capacity is None:
        layout_of(spec)  # says what is wrong
    return _sparse(
        capacity=spec.capacity,
        cluster_size=spec.cluster_size,
        compat=spec.compat,
        lazy_refcounts=spec.lazy_refcounts,
        extended_l2=spec.extended_l2,
        backing=spec.backing,
    )


@lru_cache(maxsize=32)
def _sparse(**options: Any) -> _Sparse:
    """Make a sparse image in memory, of 130 KiB at the most.

    A service makes many that are alike, and each one's making takes a tenth of its creation.
    """
    spec = VolumeSpec("image", format="qcow2", **options)
    layout = layout_of(spec)
    header = ImageInfo(
        "qcow2",
        layout.capacity,
        cluster_size=layout.cluster_size,
        compat=spec.compat or "1.1",
        lazy_refcounts=bool(spec.lazy_refcounts),
        extended_l2=bool(spec.extended_l2),
        backing=spec.backing,
    )
    return _Sparse(layout.end, tuple(_metadata(spec, layout)), header)


def _metadata(spec: VolumeSpec, layout: Layout) -> Iterator[tuple[int, bytes]]:
    """Return what is to be written, from the front to the back, and where."""
    step = layout.cluster_size
    yield 0, _header(spec, layout)
    at = layout.refcount_table_offset
    for piece in _pointers(layout.refcount_blocks_offset, step, layout.refcount_blocks):
        yield at, piece
        at += len(piece)
    yield from _refcounts(layout)
    if layout.l2_tables:
        at = layout.l1_offset
        for piece in _pointers(_COPIED | layout.l2_offset, step, layout.l1_entries):
            yield at, piece
            at += len(piece)
        at = layout.l2_offset
        for piece in _pointers(_COPIED | layout.data_offset, step, layout.data):
            entries = piece if layout.l2_entry == POINTER else _extended(piece)
            yield at, entries
            at += len(entries)


def _header(spec: VolumeSpec, layout: Layout) -> bytes:
    """Return the header, its extensions and the backing file's name."""
    version, length = QCOW2_HEADERS[spec.compat or "1.1"]
    extensions = name = b""
    if spec.backing is not None:
        name = spec.backing.name.encode()
        if spec.backing.format is not None:
            extensions = _extension(_BACKING_FORMAT, spec.backing.format.encode())
    end = _extension(0, b"")
    if version > 2:  # noqa: PLR2004
        names = _extension(_FEATURE_NAMES, _NAMES)
        if length + len(extensions + names + end + name) <= layout.cluster_size:
            extensions += names
    extensions += end
    header = _VERSION_2.pack(
        b"QFI\xfb",
        version,
        length + len(extensions) if name else 0,
        len(name),
        layout.cluster_size.bit_length() - 1,
        layout.capacity,
        0,  # encryption
        layout.l1_entries,
        layout.l1_offset,
        layout.refcount_table_offset,
        layout.refcount_table,
        0,  # snapshots, and where they are
        0,
    )
    if version > 2:  # noqa: PLR2004
        header += _VERSION_3.pack(
            _EXTENDED_L2 if spec.extended_l2 else 0,
            _LAZY_REFCOUNTS if spec.lazy_refcounts else 0,
            0,  # features to be cleared by who does not know them
            _REFCOUNT_ORDER,
            length,
            0,  # compression: deflate
        )
    return header + extensions + name


def _extension(kind: int, content: bytes) -> bytes:
    return pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)


def _refcounts(layout: Layout) -> Iterator[tuple[int, bytes]]:
    """Return a count of one for each cluster; the blocks follow each other, and so do they."""
    size = layout.clusters * REFCOUNT
    one = (1).to_bytes(REFCOUNT)
    for at in range(0, size, _PIECE):
        yield layout.refcount_blocks_offset + at, one * (min(_PIECE, size - at) // REFCOUNT)


def _pointers(first: int, step: int, count: int) -> Iterator[bytes]:
    """Return the numbers `first`, `first + step` and so on, of 8 bytes each, big-endian.

    A piece is one large integer, so that no Python loop goes over its entries, up to millions of
    them: the numbers from 0 on, times the step, plus the first one in each place.
    """
    length = min(count, _PIECE // POINTER)
    steps = int.from_bytes(pack(f">{length}Q", *range(length))) * step
    ones = int.from_bytes((1).to_bytes(POINTER) * length)
    for done in range(0, count, length or 1):
        piece = (steps + ones * (first + done * step)).to_bytes(length * POINTER)
        yield piece[: (count - done) * POINTER]


def _extended(entries: bytes) -> bytes:
    """Return L2 entries made extended ones: each followed by a bitmap that says of none of its
    subclusters that it is allocated, so that what is below shows, or else zeros.
    """
    wide = array("Q", bytes(2 * len(entries)))
    wide[::2] = array("Q", entries)
    return wide.tobytes()
