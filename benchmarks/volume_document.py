"""Reading and writing the document of one volume, and what libvirt takes to tell it."""

from __future__ import annotations

import time
from collections.abc import Callable

import volary
from benchmarks import libvirt_daemon
from benchmarks.figures import Summary, print_table, print_wanted, summarise, us
from benchmarks.runner import Bench, Figures
from volary.engine.image_info import BackingFile, ImageInfo
from volary.engine.volume_details import BackingDetails, Inode, VolumeDetails
from volary.engine.volume_document import (
    read_volume_document,
    write_volume_details,
    write_volume_document,
)
from volary.engine.volume_info import VolumeInfo

_WANTED = 100e-6

_MADE = 1_700_000_000_123_456_789
_INODE = Inode(0o600, 107, 107, None, _MADE, _MADE, _MADE, _MADE)
_IMAGE = ImageInfo(
    "qcow2",
    8 << 30,
    cluster_size=65536,
    compat="1.1",
    lazy_refcounts=True,
    backing=BackingFile("base.qcow2", "qcow2"),
)
_DETAILS = VolumeDetails(
    VolumeInfo("disk.qcow2", 8 << 30, 200704, 196616, format="qcow2", image=_IMAGE),
    "0c4d9a36-8d3e-4f3c-9f7a-3e5a2b1c0d9e/disk.qcow2",
    "/var/lib/libvirt/images/disk.qcow2",
    _INODE,
    BackingDetails("/var/lib/libvirt/images/base.qcow2", "qcow2", _INODE),
)
"""An overlay with all that its document can tell."""


def run(bench: Bench) -> Figures:
    """Time each way in turn, so that none has the quieter minutes."""
    rounds = 2000 if bench.quick else 20000
    document = write_volume_details(_DETAILS)
    spec = read_volume_document(document)
    ways: dict[str, Callable[[], object]] = {
        "read": lambda: read_volume_document(document),
        "read, validated": lambda: read_volume_document(document, validate=True),
        "write what is known": lambda: write_volume_details(_DETAILS),
        "write what is wanted": lambda: write_volume_document(spec),
        "read and write": lambda: (
            write_volume_details(_DETAILS) and read_volume_document(document)
        ),
    }
    found = _time(ways, rounds)
    with bench.connection() as connection:
        pool = bench.pool(connection, "pool")
        volume = pool.create_volume(volary.VolumeSpec("v", capacity=8 << 30, format="qcow2"))
        found |= _time({"Volume.xml, looked at on disk": volume.xml}, rounds // 10)
    with libvirt_daemon.reach(bench) as peer:
        if peer is not None:
            seconds = peer.describe(bench.fresh("theirs"), rounds // 10)
            found["libvirt's XMLDesc, over its socket"] = summarise(seconds)
    print_table(
        f"A volume's document of {len(document)} bytes, us",
        ("", "min", "median", "p99"),
        [(way, us(s.smallest), us(s.median), us(s.p99)) for way, s in found.items()],
    )
    both = found["read and write"].median
    print_wanted("<= 100 us to read and write one", f"{us(both)} us", met=both <= _WANTED)
    return {
        f"{way.replace(',', '').replace(' ', '_')}.{part}_s": value
        for way, summary in found.items()
        for part, value in (("min", summary.smallest), ("median", summary.median))
    }


def _time(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, Summary]:
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, do in ways.items():
            began = time.perf_counter()
            do()
            taken[way].append(time.perf_counter() - began)
    return {way: summarise(seconds) for way, seconds in taken.items()}
