"""What is a disk's own; the rest is in test_every_backend.py."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from tests.conftest import NeedTool
from tests.engine.backends.loop_disk import LoopDisk, command, loop_disk
from tests.engine.backends.pool_kinds import MIB
from tests.engine.formats.driven import driven

from volary.engine.backends import ActivePool, OpenVolume, backend_for
from volary.engine.backends.disk import DiskBackend
from volary.engine.backends.open_disk import OpenDisk
from volary.engine.errors import (
    ErrorCode,
    InvalidSpec,
    NoSpace,
    ReadOnly,
    SourceMismatched,
    SourceMissing,
    SourceNotEmpty,
    SourceUnformatted,
    SourceUnusable,
    Unsupported,
    VolumeBusy,
    VolumeExists,
)
from volary.engine.flags import PoolBuild
from volary.engine.formats import sfdisk
from volary.engine.formats.partition_type import TYPES, UNFINISHED
from volary.engine.pool_info import PoolState
from volary.engine.pool_source import PoolSource, SourceDevice
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Operation
from volary.engine.volume_details import VolumeExtent
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec
from volary.engine.wipe_algorithm import WipeAlgorithm

SIZE = 64 * MIB
SECTOR = 512


@pytest.fixture
def disk(tmp_path: Path, need_tool: NeedTool) -> Iterator[LoopDisk]:
    with loop_disk(tmp_path / "disk", SIZE, need_tool) as made:
        yield made


def pool_on(disk: LoopDisk | str, format: str = "gpt", target: str = "/dev") -> PoolSpec:  # noqa: A002 - libvirt's word
    path = disk if isinstance(disk, str) else disk.path
    source = PoolSource(devices=(SourceDevice(path),), format=format)
    return PoolSpec("pool", type="disk", target=target, source=source, uuid=uuid4())


def started(spec: PoolSpec) -> OpenDisk:
    """Start a pool that is built, and find its volumes."""
    active = driven(backend_for(spec).start())
    assert isinstance(active, OpenDisk)
    driven(active.scan({}))
    return active


def built(disk: LoopDisk, format: str = "gpt") -> OpenDisk:  # noqa: A002 - libvirt's word
    driven(backend_for(pool_on(disk, format)).build())
    return started(pool_on(disk, format))


@pytest.fixture
def gpt(disk: LoopDisk) -> OpenDisk:
    return built(disk)


@pytest.fixture
def dos(disk: LoopDisk) -> OpenDisk:
    return built(disk, "dos")


Create = Callable[..., VolumeInfo]


def create(
    active: ActivePool,
    disk: LoopDisk,
    number: int,
    capacity: int = MIB,
    format: str = "raw",  # noqa: A002 - libvirt's word
) -> VolumeInfo:
    spec = VolumeSpec(disk.partition(number), capacity=capacity, format=format)
    return driven(active.create_volume(spec))


def resized(active: ActivePool, now: VolumeInfo, capacity: int) -> Operation[VolumeInfo]:
    return active.resize_volume(now.name, now, capacity, allocate=False, below=(), secret=None)


def extent(active: ActivePool, info: VolumeInfo) -> tuple[int, int]:
    (found,) = active.details(info).extents
    return found.start, found.end


def edges(disk: LoopDisk) -> bytes:
    """Return what is at both ends of a disk, where all signatures are."""
    with open(disk.path, "rb") as file:
        return os.pread(file.fileno(), MIB, 0) + os.pread(file.fileno(), MIB, SIZE - MIB)


# Building.


def test_an_unknown_format_is_built_as_dos(disk: LoopDisk) -> None:
    active = built(disk, "unknown")
    assert "label: dos" in disk.dump()
    assert active.found().source.format == "dos"


@pytest.mark.parametrize("flags", [PoolBuild.NONE, PoolBuild.NO_OVERWRITE], ids=str)
@pytest.mark.parametrize("fill", ["mkfs.ext4 -q", "mkswap -q", "sfdisk -q"], ids=str)
def test_what_is_on_a_disk_is_not_written_over(
    disk: LoopDisk, flags: PoolBuild, fill: str
) -> None:
    words = ["mkswap"] if "mkswap" in fill else fill.split()
    subprocess.run(
        [*words, disk.path], input="label: dos\n", text=True, check=True, capture_output=True
    )
    before = edges(disk)
    with pytest.raises(SourceNotEmpty, match="OVERWRITE"):
        driven(backend_for(pool_on(disk)).build(flags))
    assert edges(disk) == before


def test_what_is_on_a_disk_is_gone_when_that_was_asked_for(disk: LoopDisk) -> None:
    command("mkfs.ext4", "-q", disk.path)
    driven(backend_for(pool_on(disk)).build(PoolBuild.OVERWRITE))
    assert command(
        "wipefs", "--no-act", "--noheadings", "--output", "TYPE", disk.path
    ).split() == [*("gpt", "gpt", "PMBR")]


def test_a_dos_table_leaves_nothing_of_a_gpt_one(gpt: OpenDisk, disk: LoopDisk) -> None:
    create(gpt, disk, 1)
    driven(backend_for(pool_on(disk, "dos")).build(PoolBuild.OVERWRITE))
    assert started(pool_on(disk, "dos")).free_extents() == (VolumeExtent(disk.path, MIB, SIZE),)
    assert command(
        "wipefs", "--no-act", "--noheadings", "--output", "TYPE", disk.path
    ).split() == ["dos"]
    assert not os.path.exists(disk.node(1))


def test_overwriting_and_not_overwriting_exclude_each_other(disk: LoopDisk) -> None:
    with pytest.raises(InvalidSpec, match="exclude each other"):
        driven(backend_for(pool_on(disk)).build(PoolBuild.OVERWRITE | PoolBuild.NO_OVERWRITE))
    with pytest.raises(InvalidSpec, match="REPAIR"):
        driven(backend_for(pool_on(disk)).build(PoolBuild.REPAIR))


@pytest.mark.parametrize("act", ["build", "delete"])
def test_a_disk_that_is_in_use_keeps_its_table(
    gpt: OpenDisk, disk: LoopDisk, tmp_path: Path, act: str
) -> None:
    create(gpt, disk, 1, 8 * MIB)
    create(gpt, disk, 2, 8 * MIB)
    before = disk.dump()
    backend = backend_for(pool_on(disk))

    def change() -> None:
        driven(backend.delete() if act == "delete" else backend.build(PoolBuild.OVERWRITE))

    command("mkfs.ext4", "-q", disk.node(1))
    (tmp_path / "mount").mkdir()
    command("mount", disk.node(1), tmp_path / "mount")
    try:
        with pytest.raises(SourceUnusable, match=str(tmp_path / "mount")):
            change()
    finally:
        command("umount", tmp_path / "mount")
    with open(disk.node(2), "rb"), pytest.raises(SourceUnusable, match="in use"):
        change()
    assert disk.dump() == before
    assert gpt.state() is PoolState.RUNNING


def test_a_deleted_pool_leaves_a_disk_that_can_be_built(gpt: OpenDisk, disk: LoopDisk) -> None:
    create(gpt, disk, 1)
    driven(backend_for(pool_on(disk)).delete())
    assert command("wipefs", "--no-act", disk.path) == ""
    assert not os.path.exists(disk.node(1))
    driven(backend_for(pool_on(disk, "dos")).build())


def test_what_is_no_table_of_the_pool_is_not_deleted(disk: LoopDisk) -> None:
    command("mkfs.ext4", "-q", disk.path)
    before = edges(disk)
    with pytest.raises(SourceUnusable):
        driven(backend_for(pool_on(disk)).delete())
    assert edges(disk) == before


# Starting.


def test_a_disk_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="/dev/missing is missing") as told:
        driven(backend_for(pool_on("/dev/missing")).start())
    assert told.value.code == ErrorCode.INVALID_ARG


def test_a_disk_without_a_table_is_told(disk: LoopDisk) -> None:
    with pytest.raises(SourceUnformatted, match="build the pool first") as told:
        driven(backend_for(pool_on(disk)).start())
    assert told.value.code == ErrorCode.STORAGE_PROBE_FAILED


def test_a_disk_with_another_table_is_told(dos: OpenDisk, disk: LoopDisk) -> None:
    with pytest.raises(SourceMismatched, match=r"'dos'.*'gpt'") as told:
        driven(backend_for(pool_on(disk, "gpt")).start())
    assert told.value.code == ErrorCode.OPERATION_INVALID


def test_any_table_that_is_known_will_do_for_an_unknown_format(
    gpt: OpenDisk, disk: LoopDisk
) -> None:
    assert started(pool_on(disk, "unknown")).found().source.format == "gpt"


def test_a_table_that_nobody_uses_here_is_told(disk: LoopDisk) -> None:
    disk.partition_by_hand("label: sun\n")
    with pytest.raises(Unsupported, match="'sun'"):
        driven(backend_for(pool_on(disk, "unknown")).start())
    with pytest.raises(Unsupported, match="'mac'"):
        driven(backend_for(pool_on(disk, "mac")).build(PoolBuild.OVERWRITE))


def test_a_partition_is_no_disk(gpt: OpenDisk, disk: LoopDisk) -> None:
    create(gpt, disk, 1)
    with pytest.raises(SourceUnusable, match="is a partition"):
        driven(backend_for(pool_on(disk.node(1))).start())


def test_an_image_is_no_disk(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(MIB))
    with pytest.raises(SourceUnusable, match="losetup"):
        driven(backend_for(pool_on(str(tmp_path / "image"))).start())


# Making.


def test_a_volume_has_the_name_of_the_next_partition(gpt: OpenDisk, disk: LoopDisk) -> None:
    for name in ("data", f"{disk.name}", f"{disk.name}p0", f"{disk.name}p01", f"{disk.name}p129"):
        with pytest.raises(InvalidSpec, match=f"is called '{disk.partition(1)}'"):
            driven(gpt.create_volume(VolumeSpec(name, capacity=MIB)))
    assert disk.sfdisk() == []


def test_any_number_that_is_free_will_do(gpt: OpenDisk, disk: LoopDisk) -> None:
    for number in (7, 128, 1):
        create(gpt, disk, number)
    assert [each["node"] for each in disk.sfdisk()] == [disk.node(n) for n in (1, 7, 128)]


def test_logical_partitions_that_adjoin_are_not_written_over(disk: LoopDisk) -> None:
    """Both of their tables are before the first one, which sfdisk would change."""
    extended, first, second, size = 40960, 41024, 61024, 20000

    def table(*entries: tuple[int, int, int]) -> bytes:
        packed = (struct.pack("<4xB3xII", *entry) for entry in entries)
        return bytes(446) + b"".join(packed).ljust(64, b"\0") + b"\x55\xaa"

    with open(disk.path, "r+b") as file:
        file.write(table((0x83, 2048, 2048), (0, 0, 0), (0, 0, 0), (0x0F, extended, 80000)))
        file.seek(extended * SECTOR)
        file.write(table((0x83, first - extended, size), (5, 1, 79999)))
        file.write(table((0x83, second - extended - 1, size)))
        file.seek(first * SECTOR)
        file.write(b"\xaa" * size * SECTOR)
    active = started(pool_on(disk, "dos"))
    with pytest.raises(InvalidSpec, match=f"is called '{disk.partition(2)}'"):
        create(active, disk, 3)
    create(active, disk, 2)
    with open(disk.path, "rb") as after:
        after.seek(first * SECTOR)
        assert after.read(size * SECTOR) == b"\xaa" * size * SECTOR


def test_a_capacity_is_rounded_up_to_sectors(gpt: OpenDisk, disk: LoopDisk) -> None:
    made = create(gpt, disk, 1, MIB + 1)
    assert made.capacity == made.allocation == made.physical == MIB + SECTOR
    assert made.type == "block"


def test_what_does_not_fit_is_told_with_the_largest_extent(gpt: OpenDisk, disk: LoopDisk) -> None:
    create(gpt, disk, 1, 20 * MIB)
    create(gpt, disk, 2, 10 * MIB)
    driven(gpt.delete_volume(disk.partition(1)))
    with pytest.raises(NoSpace, match=r"largest free extent .* has 32\.98 MiB"):
        create(gpt, disk, 3, 40 * MIB)


def test_freed_extents_are_used_again_the_smallest_first(gpt: OpenDisk, disk: LoopDisk) -> None:
    made = [create(gpt, disk, number, size * MIB) for number, size in enumerate((9, 1, 5, 1), 1)]
    places = [extent(gpt, info) for info in made]
    for number in (1, 3):
        driven(gpt.delete_volume(disk.partition(number)))
    assert extent(gpt, create(gpt, disk, 1, 4 * MIB))[0] == places[2][0]
    assert extent(gpt, create(gpt, disk, 3, 6 * MIB))[0] == places[0][0]


def test_other_partitions_stay_what_they_are(disk: LoopDisk) -> None:
    disk.partition_by_hand(
        "label: gpt\nfirst-lba: 34\n"
        'start=4096, size=2048, type=L, name="two words, \\x22quoted\\x22", '
        'attrs="RequiredPartition GUID:63"\n'
        "start=34, size=10, type=U\n"
    )
    active = started(pool_on(disk))
    before = disk.dump()
    create(active, disk, 9, 3 * MIB)
    added = [line for line in disk.dump().splitlines() if line not in before.splitlines()]
    assert [line.split(" ")[0] for line in added] == [disk.node(9)]
    driven(active.delete_volume(disk.partition(9)))
    assert disk.dump() == before


def test_boot_code_stays(dos: OpenDisk, disk: LoopDisk) -> None:
    code = os.urandom(440)
    with open(disk.path, "r+b") as file:
        file.write(code)
    create(dos, disk, 1)
    with open(disk.path, "rb") as file:
        assert file.read(440) == code


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_each_format_has_its_type_and_is_told_again(disk: LoopDisk, label: str) -> None:
    active = built(disk, label)
    formats = [name for name in TYPES[label] if name != "extended"]
    if label == "dos":
        create(active, disk, 1, 40 * MIB, "extended")
    first = 5 if label == "dos" else 1
    known = {
        (made := create(active, disk, number, MIB, name)).name: made
        for number, name in enumerate(formats, first)
    }
    assert [info.format for info in known.values()] == formats
    types = [each["type"] for each in disk.sfdisk() if each["node"][len(disk.path) :] != "p1"]
    assert types[-1] == TYPES[label]["linux-raid"]
    found = driven(active.scan(known))
    assert [found[name].format for name in known] == formats
    afresh = driven(started(pool_on(disk, label)).scan({}))
    told = ["none", "none", *(["fat16"] if label == "dos" else ["fat32"]), *formats[3:]]
    assert [afresh[name].format for name in known] == told


def test_formats_that_a_table_has_not_are_refused(gpt: OpenDisk, disk: LoopDisk) -> None:
    for format_ in ("extended", "qcow2"):
        with pytest.raises(Unsupported, match=format_):
            create(gpt, disk, 1, MIB, format_)


def test_what_a_deleted_volume_held_does_not_show_through(gpt: OpenDisk, disk: LoopDisk) -> None:
    create(gpt, disk, 1, 16 * MIB)
    command("mkfs.ext4", "-q", disk.node(1))
    place = extent(gpt, gpt.inspect(disk.partition(1)))
    driven(gpt.delete_volume(disk.partition(1)))
    made = create(gpt, disk, 1, 16 * MIB)
    assert extent(gpt, made) == place
    assert command("wipefs", "--no-act", disk.node(1)) == ""


def test_a_preallocated_volume_is_all_zeros(gpt: OpenDisk, disk: LoopDisk) -> None:
    Path(disk.node(1)).unlink(missing_ok=True)
    made = create(gpt, disk, 1, 8 * MIB)
    Path(disk.node(1)).write_bytes(b"old" * 1000000)
    driven(gpt.delete_volume(made.name))
    spec = VolumeSpec(made.name, capacity=8 * MIB, preallocation="full")
    assert extent(gpt, driven(gpt.create_volume(spec))) == (MIB, 9 * MIB)
    assert not any(Path(disk.node(1)).read_bytes())


def test_a_volume_has_the_mode_and_owner_asked_for(gpt: OpenDisk, disk: LoopDisk) -> None:
    spec = VolumeSpec(disk.partition(1), capacity=MIB, mode=0o640, owner=1234, group=4321)
    inode = gpt.details(driven(gpt.create_volume(spec))).inode
    assert inode is not None
    assert (inode.mode, inode.owner, inode.group) == (0o640, 1234, 4321)


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_disks_of_large_sectors_are_counted_in_those(disk: LoopDisk, label: str) -> None:
    command("losetup", "--sector-size", 4096, disk.path)
    active = built(disk, label)
    made = create(active, disk, 1, 3 * MIB + 1)
    assert made.capacity == 3 * MIB + 4096
    assert extent(active, made) == (MIB, MIB + made.capacity)
    assert int(command("blockdev", "--getsize64", disk.node(1))) == made.capacity
    if label == "dos":
        create(active, disk, 2, 20 * MIB, "extended")
    for number in (5, 6):
        create(active, disk, number, 2 * MIB)
    before = driven(active.scan({}))
    assert driven(started(active.spec).scan({})) == before
    places = sorted(extent(active, info) for info in before.values() if info.format != "extended")
    assert all(first[1] <= second[0] for first, second in pairwise(places))
    for number in (6, 5, 1):
        driven(active.delete_volume(disk.partition(number)))


# Extended and logical partitions.


def test_a_dos_table_has_four_primary_partitions(dos: OpenDisk, disk: LoopDisk) -> None:
    for number in (1, 2, 3, 4):
        create(dos, disk, number)
    with pytest.raises(NoSpace, match="as many partitions as it can have"):
        create(dos, disk, 5)


def test_logical_partitions_are_in_the_extended_one(dos: OpenDisk, disk: LoopDisk) -> None:
    outer = create(dos, disk, 1, 20 * MIB, "extended")
    assert (outer.capacity, outer.allocation, outer.format) == (20 * MIB, 0, "extended")
    inner = [create(dos, disk, number, 3 * MIB) for number in (5, 6)]
    assert [extent(dos, info) for info in inner] == [(2 * MIB, 5 * MIB), (6 * MIB, 9 * MIB)]
    assert dos.inspect(outer.name).allocation == 6 * MIB
    assert [each["size"] * SECTOR for each in disk.sfdisk()] == [20 * MIB, 3 * MIB, 3 * MIB]
    with pytest.raises(NoSpace, match="in the extended partition"):
        create(dos, disk, 7, 30 * MIB)
    with pytest.raises(Unsupported, match="has one extended partition"):
        create(dos, disk, 2, MIB, "extended")


def test_an_extended_partition_has_no_bytes_of_its_own(dos: OpenDisk, disk: LoopDisk) -> None:
    outer = create(dos, disk, 1, 20 * MIB, "extended")
    with pytest.raises(Unsupported, match="extended"):
        driven(dos.wipe_volume(outer.name, WipeAlgorithm.ZERO))


def test_no_logical_partition_gets_another_name(dos: OpenDisk, disk: LoopDisk) -> None:
    outer = create(dos, disk, 4, 20 * MIB, "extended")
    create(dos, disk, 5)
    create(dos, disk, 6)
    with pytest.raises(Unsupported, match=f"delete '{disk.partition(6)}' first"):
        driven(dos.delete_volume(disk.partition(5)))
    with pytest.raises(VolumeBusy, match=disk.partition(5)):
        driven(dos.delete_volume(outer.name))
    for number in (6, 5, 4):
        driven(dos.delete_volume(disk.partition(number)))
    assert disk.sfdisk() == []


# Deleting and changing.


def test_a_volume_that_is_in_use_is_not_deleted(
    gpt: OpenDisk, disk: LoopDisk, tmp_path: Path
) -> None:
    made = create(gpt, disk, 1, 8 * MIB)
    before = disk.dump()
    command("mkfs.ext4", "-q", disk.node(1))
    (tmp_path / "mount").mkdir()
    command("mount", disk.node(1), tmp_path / "mount")
    try:
        for work in (
            gpt.delete_volume(made.name),
            gpt.delete_volume(made.name, zeroed=True),
            gpt.wipe_volume(made.name, WipeAlgorithm.ZERO),
        ):
            with pytest.raises(VolumeBusy, match=f"mounted at {tmp_path}"):
                driven(work)
    finally:
        command("umount", tmp_path / "mount")
    assert disk.dump() == before
    assert os.path.exists(disk.node(1))
    driven(gpt.delete_volume(made.name))


def test_another_partition_that_is_mounted_is_no_obstacle(
    gpt: OpenDisk, disk: LoopDisk, tmp_path: Path
) -> None:
    create(gpt, disk, 1, 8 * MIB)
    command("mkfs.ext4", "-q", disk.node(1))
    (tmp_path / "mount").mkdir()
    command("mount", disk.node(1), tmp_path / "mount")
    try:
        create(gpt, disk, 2)
        driven(gpt.delete_volume(disk.partition(2)))
        driven(gpt.scan({}))
        assert gpt.state() is PoolState.RUNNING
    finally:
        command("umount", tmp_path / "mount")


def test_a_zeroed_volume_leaves_zeros(gpt: OpenDisk, disk: LoopDisk) -> None:
    made = create(gpt, disk, 1, 2 * MIB)
    Path(disk.node(1)).write_bytes(os.urandom(2 * MIB))
    start, end = extent(gpt, made)
    driven(gpt.delete_volume(made.name, zeroed=True))
    with open(disk.path, "rb") as file:
        assert not any(os.pread(file.fileno(), end - start, start))


def test_a_volume_grows_into_what_is_free_behind_it(gpt: OpenDisk, disk: LoopDisk) -> None:
    made = create(gpt, disk, 1, 2 * MIB)
    create(gpt, disk, 2, 2 * MIB)
    create(gpt, disk, 3, 2 * MIB)
    driven(gpt.delete_volume(disk.partition(2)))
    uuid = disk.sfdisk()[0]["uuid"]
    for size, fits in ((4 * MIB, True), (5 * MIB, False), (MIB, True)):
        work = gpt.resize_volume(made.name, made, size, allocate=False, below=(), secret=None)
        if not fits:
            with pytest.raises(NoSpace, match="can grow by 0 B"):
                driven(work)
            continue
        assert driven(work).capacity == size
        assert disk.sfdisk()[0]["size"] * SECTOR == size
        assert os.path.getsize(disk.node(1)) == 0
        assert int(command("blockdev", "--getsize64", disk.node(1))) == size
    assert disk.sfdisk()[0]["uuid"] == uuid


@pytest.mark.parametrize("algorithm", [WipeAlgorithm.TRIM, WipeAlgorithm.BSI])
def test_a_volume_of_odd_size_is_wiped_to_its_end(
    gpt: OpenDisk, disk: LoopDisk, algorithm: WipeAlgorithm
) -> None:
    made = create(gpt, disk, 1, MIB + SECTOR)
    follows = create(gpt, disk, 2, MIB)
    Path(disk.node(1)).write_bytes(b"secret" * (MIB // 6))
    Path(disk.node(2)).write_bytes(b"precious")
    driven(gpt.wipe_volume(made.name, algorithm))
    assert b"secret" not in Path(disk.node(1)).read_bytes()
    assert Path(disk.node(2)).read_bytes()[:8] == b"precious"
    assert follows.capacity == MIB


def test_a_wiped_volume_is_for_what_it_was(gpt: OpenDisk, disk: LoopDisk) -> None:
    made = create(gpt, disk, 1, MIB, "linux")
    assert driven(gpt.wipe_volume(made.name, WipeAlgorithm.ZERO)).format == "linux"


# Cloning.


def opened(path: Path, info: VolumeInfo) -> OpenVolume:
    return OpenVolume(os.open(path, os.O_RDONLY), str(path), info)


def test_holes_of_a_source_are_zeros_in_a_partition(
    gpt: OpenDisk, disk: LoopDisk, tmp_path: Path
) -> None:
    made = create(gpt, disk, 1, 8 * MIB)
    Path(disk.node(1)).write_bytes(b"\xff" * 8 * MIB)
    driven(gpt.delete_volume(made.name))
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.write(b"begin")
        file.seek(5 * MIB + 700)
        file.write(b"end")
    size = source.stat().st_size
    with closing(opened(source, VolumeInfo("source", size, 0, size))) as volume:
        spec = VolumeSpec(made.name, capacity=8 * MIB)
        info = driven(gpt.clone_volume(spec, [volume], reflink=False, secret=None))
    assert extent(gpt, info) == (MIB, 9 * MIB)
    content = Path(disk.node(1)).read_bytes()
    assert content == source.read_bytes().ljust(8 * MIB, b"\0")


def test_a_qcow2_is_copied_into_a_partition(
    gpt: OpenDisk, disk: LoopDisk, tmp_path: Path, need_tool: NeedTool
) -> None:
    need_tool("qemu-img", "qemu-utils")
    raw, source = tmp_path / "raw", tmp_path / "source"
    raw.write_bytes(os.urandom(MIB) + bytes(MIB))
    command("qemu-img", "convert", "-O", "qcow2", raw, source)
    info = VolumeInfo("source", 2 * MIB, 0, source.stat().st_size, format="qcow2")
    made = create(gpt, disk, 1, 4 * MIB)
    Path(disk.node(1)).write_bytes(b"\xff" * 4 * MIB)
    driven(gpt.delete_volume(made.name))
    with closing(opened(source, info)) as volume:
        spec = VolumeSpec(made.name, capacity=4 * MIB)
        driven(gpt.clone_volume(spec, [volume], reflink=False, secret=None))
    assert Path(disk.node(1)).read_bytes() == raw.read_bytes() + bytes(2 * MIB)


def test_a_partition_is_copied_into_a_partition(gpt: OpenDisk, disk: LoopDisk) -> None:
    made = create(gpt, disk, 1, 2 * MIB)
    data = os.urandom(2 * MIB)
    Path(disk.node(1)).write_bytes(data)
    with closing(gpt.open_volume(made.name, made)) as volume:
        spec = VolumeSpec(disk.partition(2), capacity=2 * MIB, format="linux")
        driven(gpt.clone_volume(spec, [volume], reflink=False, secret=None))
    assert Path(disk.node(2)).read_bytes() == data
    assert disk.sfdisk()[1]["type"] == TYPES["gpt"]["linux"]


def test_an_image_in_a_partition_is_raw_until_somebody_says_what_it_is(
    gpt: OpenDisk, disk: LoopDisk, need_tool: NeedTool
) -> None:
    need_tool("qemu-img", "qemu-utils")
    made = create(gpt, disk, 1, 2 * MIB)
    command("qemu-img", "create", "-f", "qcow2", disk.node(1), "1G")
    assert gpt.inspect(made.name, None).format == "none"
    with closing(gpt.open_volume(made.name, made)) as volume:
        assert (volume.info.format, volume.info.capacity) == ("raw", 2 * MIB)
    assert gpt.inspect(made.name, None, format="qcow2").capacity == 1 << 30


def test_a_cancelled_clone_leaves_nothing(gpt: OpenDisk, disk: LoopDisk, tmp_path: Path) -> None:
    before = disk.dump()
    source = tmp_path / "source"
    source.write_bytes(os.urandom(24 * MIB))
    info = VolumeInfo("source", 24 * MIB, 0, 24 * MIB)
    with closing(opened(source, info)) as volume:
        spec = VolumeSpec(disk.partition(1), capacity=24 * MIB)
        work = gpt.clone_volume(spec, [volume], reflink=False, secret=None)
        while not disk.sfdisk():
            next(work)
        next(work)
        assert disk.sfdisk()[0]["type"] == UNFINISHED["gpt"]
        assert driven(gpt.scan({})) == {}
        assert len(disk.sfdisk()) == 1, "a scan leaves alone what is being made"
        work.close()
    assert disk.dump() == before
    assert not os.path.exists(disk.node(1))


# After a crash, and beside others.


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_a_partition_that_the_kernel_was_not_told_of_is_shown(disk: LoopDisk, label: str) -> None:
    active = built(disk, label)
    fd = os.open(disk.path, os.O_RDWR)
    try:
        table = driven(sfdisk.read(fd))
        assert table is not None
        new = sfdisk.Partition(1, MIB, 2 * MIB, TYPES[label]["linux"])
        driven(sfdisk.add(fd, table, new, new.type))
    finally:
        os.close(fd)
    assert not os.path.exists(disk.node(1))
    found = driven(active.scan({}))
    assert found[disk.partition(1)].capacity == 2 * MIB
    assert int(command("blockdev", "--getsize64", disk.node(1))) == 2 * MIB


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_what_a_crash_left_unfinished_is_removed(
    disk: LoopDisk, tmp_path: Path, label: str
) -> None:
    active = built(disk, label)
    before = disk.dump()
    source = tmp_path / "source"
    source.write_bytes(os.urandom(24 * MIB))
    with closing(opened(source, VolumeInfo("source", 24 * MIB, 0, 24 * MIB))) as volume:
        spec = VolumeSpec(disk.partition(1), capacity=24 * MIB)
        work = active.clone_volume(spec, [volume], reflink=False, secret=None)
        while not disk.sfdisk():
            next(work)
        half = disk.dump()
        mark = Path(disk.path).read_bytes()[24 * MIB : 25 * MIB]
        work.close()
    # As it was when the table was written and the content was not.
    disk.partition_by_hand(half)
    with open(disk.path, "r+b") as file:
        file.seek(24 * MIB)
        file.write(mark)
    active = started(pool_on(disk, label))
    assert driven(active.scan({})) == {}
    assert disk.dump() == before


def test_a_partition_of_others_with_the_code_of_unfinished_ones_is_a_volume(
    disk: LoopDisk,
) -> None:
    built(disk, "dos")
    disk.partition_by_hand(f"{disk.dump()}\n{disk.node(1)} : size=2M, type={UNFINISHED['dos']}\n")
    before = disk.dump()
    active = started(pool_on(disk, "dos"))
    assert [info.format for info in driven(active.scan({})).values()] == ["none"]
    assert disk.dump() == before


def test_a_clone_that_is_shorter_than_its_partition_ends_with_zeros(
    disk: LoopDisk, tmp_path: Path
) -> None:
    active = built(disk, "dos")
    source = tmp_path / "source"
    source.write_bytes(os.urandom(2 * MIB))
    with closing(opened(source, VolumeInfo("source", 2 * MIB, 0, 2 * MIB))) as volume:
        spec = VolumeSpec(disk.partition(1), capacity=4 * MIB)
        driven(active.clone_volume(spec, [volume], reflink=False, secret=None))
    assert Path(disk.node(1)).read_bytes() == source.read_bytes() + bytes(2 * MIB)


def test_what_somebody_else_changed_is_found(gpt: OpenDisk, disk: LoopDisk) -> None:
    create(gpt, disk, 1)
    kept = create(gpt, disk, 2)
    lines = [line for line in disk.dump().splitlines() if not line.startswith(disk.node(1))]
    disk.partition_by_hand("\n".join([*lines, f"{disk.node(3)} : start=20480, size=2048\n"]))
    assert set(driven(gpt.scan({}))) == {kept.name, disk.partition(3)}
    assert not os.path.exists(disk.node(1))
    assert os.path.exists(disk.node(3))


def test_a_partition_of_an_older_table_that_is_in_use_is_not_written_to(
    gpt: OpenDisk, disk: LoopDisk
) -> None:
    create(gpt, disk, 1, 8 * MIB)
    Path(disk.node(1)).write_bytes(b"precious")
    disk.partition_by_hand("label: gpt\n")
    before = disk.dump()
    with open(disk.node(1), "rb") as file:
        with pytest.raises(VolumeBusy, match=r"not in the table .* any more"):
            create(gpt, disk, 2, 4 * MIB)
        assert file.read(8) == b"precious"
    assert disk.dump() == before
    create(gpt, disk, 2, 4 * MIB)


def test_a_volume_does_not_grow_into_a_partition_of_an_older_table(
    gpt: OpenDisk, disk: LoopDisk
) -> None:
    now = create(gpt, disk, 1)
    create(gpt, disk, 2)
    with open(disk.node(2), "r+b", buffering=0) as guest:
        guest.write(b"\xaa" * MIB)
        os.fsync(guest.fileno())
        command("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--delete", disk.path, 2)
        driven(gpt.scan({}))
        with pytest.raises(VolumeBusy, match=rf"would be where {disk.partition(2)} is"):
            driven(resized(gpt, now, 2 * MIB))
        assert os.pread(guest.fileno(), MIB, 0) == b"\xaa" * MIB


def test_nothing_is_written_to_a_disk_that_is_mounted_as_a_whole(
    disk: LoopDisk, tmp_path: Path
) -> None:
    command("mkfs.ext4", "-q", "-F", disk.path)
    # It leaves room for a table (or for what was one), and does not mind it.
    arguments = ["sfdisk", "-q", "--force", "--wipe", "never", "--no-reread", disk.path]
    subprocess.run(arguments, input="label: dos", text=True, check=True, capture_output=True)
    (tmp_path / "mount").mkdir()
    command("mount", disk.path, tmp_path / "mount")
    try:
        active = started(pool_on(disk, "dos"))
        before = Path(disk.path).read_bytes()
        with pytest.raises(VolumeBusy, match=rf"mounted at {tmp_path / 'mount'} as a whole"):
            create(active, disk, 1)
        assert Path(disk.path).read_bytes() == before
        assert not os.path.exists(disk.node(1))
    finally:
        command("umount", tmp_path / "mount")


def test_a_name_that_somebody_else_took_is_refused(gpt: OpenDisk, disk: LoopDisk) -> None:
    disk.partition_by_hand(disk.dump() + f"\n{disk.node(1)} : size=2M\n")
    with pytest.raises(VolumeExists, match=disk.partition(1)):
        create(gpt, disk, 1)


def test_a_table_that_somebody_else_replaced_is_left_alone(gpt: OpenDisk, disk: LoopDisk) -> None:
    disk.partition_by_hand("label: dos\n")
    before = disk.dump()
    with pytest.raises(SourceUnusable, match="had a gpt table, and has a dos table"):
        create(gpt, disk, 1)
    assert disk.dump() == before


def test_a_change_waits_for_whoever_has_the_disk_locked(gpt: OpenDisk, disk: LoopDisk) -> None:
    with open(disk.path, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        work = gpt.create_volume(VolumeSpec(disk.partition(1), capacity=MIB))
        for _ in range(3):
            next(work)
        assert disk.sfdisk() == []
        fcntl.flock(other, fcntl.LOCK_UN)
        driven(work)
    assert len(disk.sfdisk()) == 1


# The state.


def test_no_lock_is_held_where_an_operation_can_be_paused(gpt: OpenDisk, disk: LoopDisk) -> None:
    def is_locked() -> bool:
        with open(disk.path, "rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    spec = VolumeSpec(disk.partition(1), capacity=20 * MIB, preallocation="full")
    assert not any(is_locked() for _ in gpt.create_volume(spec))
    now = driven(gpt.scan({}))[spec.name]
    assert not any(is_locked() for _ in resized(gpt, now, 21 * MIB))
    assert not any(is_locked() for _ in gpt.scan({}))
    assert not any(is_locked() for _ in gpt.delete_volume(spec.name, zeroed=True))


def test_a_cancelled_creation_does_not_wait_for_whoever_has_the_disk_locked(
    gpt: OpenDisk, disk: LoopDisk
) -> None:
    spec = VolumeSpec(disk.partition(1), capacity=20 * MIB, preallocation="full")
    work = gpt.create_volume(spec)
    next(work)
    with open(disk.path, "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        work.close()
    assert driven(gpt.scan({})) == {}
    assert disk.sfdisk() == []


def test_a_table_of_more_partitions_than_linux_shows_is_read(disk: LoopDisk) -> None:
    each = [f"start={4096 + 64 * number}, size=64" for number in range(300)]
    disk.partition_by_hand("\n".join(["label: gpt", "table-length: 300", *each]))
    with open(disk.path, "rb") as file:
        table = driven(sfdisk.read(file.fileno()))
    assert table is not None
    assert len(table.partitions) == 300


def test_a_disk_that_was_taken_away_is_inaccessible(tmp_path: Path, need_tool: NeedTool) -> None:
    with loop_disk(tmp_path / "disk", SIZE, need_tool) as disk:
        active = built(disk)
        command("losetup", "--detach", disk.path)
        assert active.state() is PoolState.INACCESSIBLE
        with pytest.raises(SourceUnusable, match="was taken away"):
            create(active, disk, 1)
        command("losetup", disk.path, tmp_path / "disk")
        assert active.state() is PoolState.INACCESSIBLE, "it may be another disk"
        assert started(active.spec).state() is PoolState.RUNNING


def test_a_disk_that_cannot_be_written_to_is_degraded(gpt: OpenDisk, disk: LoopDisk) -> None:
    made = create(gpt, disk, 1)
    command("blockdev", "--setro", disk.path)
    assert gpt.state() is PoolState.DEGRADED
    assert set(driven(gpt.scan({}))) == {made.name}
    command("blockdev", "--setrw", disk.path)
    assert gpt.state() is PoolState.RUNNING


def test_a_disk_that_cannot_be_written_to_keeps_what_it_shows(
    gpt: OpenDisk, disk: LoopDisk
) -> None:
    now = create(gpt, disk, 1)
    command("blockdev", "--setro", disk.path)
    changes = (
        lambda: create(gpt, disk, 2),
        lambda: driven(resized(gpt, now, 2 * MIB)),
        lambda: driven(gpt.delete_volume(now.name)),
        lambda: driven(backend_for(pool_on(disk)).build(PoolBuild.OVERWRITE)),
        lambda: driven(backend_for(pool_on(disk)).delete()),
    )
    for change in changes:
        with pytest.raises(ReadOnly):
            change()
        assert os.path.exists(disk.node(1))
    command("blockdev", "--setrw", disk.path)


def test_a_pool_of_which_a_partition_is_not_shown_is_degraded(
    gpt: OpenDisk, disk: LoopDisk
) -> None:
    create(gpt, disk, 1)
    command("partx", "--delete", "--nr", "1", disk.path)
    assert gpt.state() is PoolState.DEGRADED
    driven(gpt.scan({}))
    assert gpt.state() is PoolState.RUNNING


# Paths and sources.


def test_a_volume_has_the_path_of_the_link_below_the_target(
    gpt: OpenDisk, disk: LoopDisk, tmp_path: Path
) -> None:
    made = create(gpt, disk, 1)
    (tmp_path / "by-path").mkdir()
    active = started(pool_on(disk, target=str(tmp_path / "by-path")))
    assert active.path(made.name) == disk.node(1)
    (tmp_path / "by-path" / "pci-1-part1").symlink_to(disk.node(1))
    assert active.path(made.name) == str(tmp_path / "by-path" / "pci-1-part1")
    assert gpt.path(made.name) == disk.node(1)


def test_a_disk_is_found_through_a_link(gpt: OpenDisk, disk: LoopDisk, tmp_path: Path) -> None:
    create(gpt, disk, 1)
    (tmp_path / "link").symlink_to(disk.path)
    assert set(driven(started(pool_on(str(tmp_path / "link"))).scan({}))) == {disk.partition(1)}


def test_disks_that_nobody_uses_are_sources(disk: LoopDisk, tmp_path: Path) -> None:
    def format_() -> str | None:
        found = driven(DiskBackend.find_sources(PoolSource()))
        mine = [source for source in found if source.devices[0].path == disk.path]
        return mine[0].format if mine else None

    assert format_() == "unknown"
    active = built(disk)
    assert format_() == "gpt"
    create(active, disk, 1, 8 * MIB)
    command("mkfs.ext4", "-q", disk.node(1))
    assert format_() == "gpt"
    (tmp_path / "mount").mkdir()
    command("mount", disk.node(1), tmp_path / "mount")
    try:
        assert format_() is None
    finally:
        command("umount", tmp_path / "mount")
