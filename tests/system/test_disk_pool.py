"""Pools of partitions, beside what the system's own tools and libvirt say of the same disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lxml import etree
from tests.conftest import NeedTool
from tests.engine.backends.loop_disk import LoopDisk, command, loop_disk
from tests.system.own_libvirtd import SystemLibvirtd

import volary

MIB = 1 << 20
GIB = 1 << 30
SECTOR = 512
LABELS = ("gpt", "dos")

both = pytest.mark.parametrize("label", LABELS)


@pytest.fixture
def disk(tmp_path: Path, need_tool: NeedTool) -> Iterator[LoopDisk]:
    with loop_disk(tmp_path / "disk", 2 * GIB, need_tool) as made:
        yield made


def spec_on(disk: LoopDisk, label: str, name: str = "disks") -> volary.PoolSpec:
    source = volary.PoolSource(devices=(volary.SourceDevice(disk.path),), format=label)
    return volary.PoolSpec(name, type="disk", target="/dev", source=source)


def pool_on(
    conn: volary.Connection, disk: LoopDisk, label: str, name: str = "disks"
) -> volary.Pool:
    return conn.create_pool(spec_on(disk, label, name), volary.PoolStart.BUILD)


def make(
    pool: volary.Pool,
    disk: LoopDisk,
    number: int,
    capacity: int,
    format: str = "none",  # noqa: A002 - libvirt's word
) -> volary.Volume:
    return pool.create_volume(
        volary.VolumeSpec(disk.partition(number), capacity=capacity, format=format)
    )


def sizes(pool: volary.Pool) -> dict[str, int]:
    return {info.name: info.capacity for info in pool.volume_infos()}


def extents(pool: volary.Pool) -> dict[str, tuple[int, int]]:
    """Return where each volume is, as its document tells."""
    found = {}
    for volume in pool.volumes():
        extent = etree.fromstring(volume.xml()).find("source/device/extent")
        assert extent is not None
        found[volume.name] = (int(extent.attrib["start"]), int(extent.attrib["end"]))
    return found


@both
def test_what_the_systems_tools_say_is_what_the_pool_says(
    conn: volary.Connection, disk: LoopDisk, label: str
) -> None:
    pool = pool_on(conn, disk, label)
    formats = ["linux", "linux-swap", "fat32", "linux-lvm"]
    for number, format_ in enumerate(formats, 1):
        make(pool, disk, number, number * 7 * MIB + number, format_)

    by_sfdisk = {
        os.path.basename(each["node"]): (
            each["start"] * SECTOR,
            (each["start"] + each["size"]) * SECTOR,
        )
        for each in disk.sfdisk()
    }
    assert extents(pool) == by_sfdisk

    (listed,) = json.loads(command("lsblk", "--json", "--bytes", disk.path))["blockdevices"]
    assert {each["name"]: each["size"] for each in listed["children"]} == sizes(pool)

    for number, format_ in enumerate(formats, 1):
        told = dict(
            line.split("=", 1)
            for line in command("blkid", "-p", "-o", "export", disk.node(number)).splitlines()
        )
        assert told["PART_ENTRY_SCHEME"] == label
        assert int(told["PART_ENTRY_NUMBER"]) == number
        assert pool.volume(disk.partition(number)).info().format == format_


@pytest.mark.parametrize("label", LABELS)
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 8), st.integers(1, 300 * MIB)), min_size=4, max_size=14
    )
)
@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_random_creations_and_deletions_never_overlap(
    conn: volary.Connection, disk: LoopDisk, label: str, steps: list[tuple[int, int]]
) -> None:
    source = spec_on(disk, label, f"disks-{uuid4()}")
    pool = conn.define_pool(source)
    pool.build(volary.PoolBuild.OVERWRITE)
    pool.start()
    empty = pool.info().available
    here: dict[str, int] = {}
    for number, capacity in steps:
        name = disk.partition(number)
        if name in here:
            pool.volume(name).delete()
            del here[name]
            continue
        try:
            here[name] = make(pool, disk, number, capacity).info().capacity
        except volary.InvalidSpec:
            assert label == "dos"
            assert number > 4
        except volary.NoSpace:
            pass
        else:
            assert 0 <= here[name] - capacity < SECTOR
    assert sizes(pool) == here
    places = sorted(extents(pool).values())
    assert all(before[1] <= after[0] for before, after in pairwise(places))
    for name in here:
        pool.volume(name).delete()
    assert pool.info().available == empty
    assert disk.sfdisk() == []
    pool.stop()
    pool.undefine()


@both
def test_many_creations_at_the_same_time_do_not_overlap(
    conn: volary.Connection, disk: LoopDisk, label: str
) -> None:
    pool = pool_on(conn, disk, label)
    count = 4 if label == "dos" else 12
    jobs = [
        pool.create_volume(
            volary.VolumeSpec(disk.partition(number), capacity=number * MIB), volary.ASYNC
        )
        for number in range(count, 0, -1)
    ]
    for job in jobs:
        job.result()
    wanted = {disk.partition(number): number * MIB for number in range(1, count + 1)}
    assert sizes(pool) == wanted
    places = sorted(extents(pool).values())
    assert all(before[1] <= after[0] for before, after in pairwise(places))
    deletions = [pool.volume(name).delete(volary.ASYNC) for name in wanted]
    for deletion in deletions:
        deletion.result()
    assert disk.sfdisk() == []


@both
def test_a_volumes_bytes_are_those_of_its_node(
    conn: volary.Connection, disk: LoopDisk, tmp_path: Path, label: str
) -> None:
    volume = make(pool_on(conn, disk, label), disk, 1, 9 * MIB)
    source, read, target = tmp_path / "source", tmp_path / "read", tmp_path / "target"
    source.write_bytes(os.urandom(3 * MIB + 77))
    volume.upload(source, offset=MIB + 5)
    command(
        *("dd", f"if={volume.path}", f"of={read}", "iflag=skip_bytes,count_bytes"),
        *(f"skip={MIB + 5}", f"count={3 * MIB + 77}", "status=none"),
    )
    assert read.read_bytes() == source.read_bytes()
    volume.download(target)
    assert target.read_bytes() == Path(volume.path).read_bytes()


def test_volumes_are_cloned_between_disks_and_directories(
    conn: volary.Connection, pool: volary.Pool, disk: LoopDisk, tmp_path: Path
) -> None:
    disks = pool_on(conn, disk, "gpt")
    image = pool.create_volume(volary.VolumeSpec("image", capacity=5 * MIB))
    data = os.urandom(2 * MIB)
    (tmp_path / "data").write_bytes(data)
    image.upload(tmp_path / "data", offset=2 * MIB)
    onto = disks.clone_volume(image, volary.VolumeSpec(disk.partition(1), format="linux"))
    assert (onto.info().format, onto.info().capacity) == ("linux", 5 * MIB)
    off = pool.clone_volume(onto, volary.VolumeSpec("copy"))
    whole = bytes(2 * MIB) + data + bytes(MIB)
    assert Path(onto.path).read_bytes() == Path(off.path).read_bytes() == whole


def test_two_disks_are_two_pools(
    conn: volary.Connection, tmp_path: Path, need_tool: NeedTool
) -> None:
    with ExitStack() as disks:
        made = [disks.enter_context(loop_disk(tmp_path / name, GIB, need_tool)) for name in LABELS]
        pools = [
            pool_on(conn, disk, label, label) for disk, label in zip(made, LABELS, strict=True)
        ]
        for disk, pool in zip(made, pools, strict=True):
            make(pool, disk, 1, 3 * MIB)
        assert [sizes(pool) for pool in pools] == [{disk.partition(1): 3 * MIB} for disk in made]
        assert conn.volume(path=made[1].node(1)).pool == pools[1]


def test_what_a_document_says_of_a_pool_is_what_libvirt_calls_it(
    conn: volary.Connection, disk: LoopDisk
) -> None:
    pool = pool_on(conn, disk, "gpt")
    volume = make(pool, disk, 1, 8 * MIB, "linux")
    document = etree.fromstring(volume.xml())
    assert document.get("type") == "block"
    assert document.findtext("target/path") == disk.node(1)
    assert document.xpath("string(target/format/@type)") == "linux"
    assert document.xpath("string(source/device/@path)") == disk.path


_CREATING = """
import sys, volary
state, device, name, source = sys.argv[1:]
with volary.open(state_dir=state) as conn:
    pool = conn.pool("disks")
    pool.start()
    print("begun", flush=True)
    pool.clone_volume(conn.pool("images").volume("image"), volary.VolumeSpec(name))
    print("created", flush=True)
"""


@contextmanager
def cloning(state: Path, disk: LoopDisk) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", _CREATING, str(state), disk.path, disk.partition(1), "image"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "begun\n"
            yield child
        finally:
            child.kill()


@both
def test_a_killed_clone_is_nowhere_at_the_next_start(
    disk: LoopDisk, tmp_path: Path, label: str
) -> None:
    state = tmp_path / "state"
    with volary.open(state_dir=state) as conn:
        images = conn.define_pool(volary.PoolSpec("images", target=tmp_path / "images"))
        images.autostart = True
        images.build()
        images.start()
        images.create_volume(volary.VolumeSpec("image", capacity="512 MiB", preallocation="full"))
        pool = conn.define_pool(spec_on(disk, label))
        pool.build()
    before = disk.dump()
    with cloning(state, disk) as child:
        while not disk.sfdisk() and child.poll() is None:
            pass
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    assert len(disk.sfdisk()) == 1
    with volary.open(state_dir=state) as conn:
        pool = conn.pool("disks")
        pool.start()
        assert pool.volumes() == []
        assert disk.dump() == before
        make(pool, disk, 1, MIB)


# Beside libvirt.


def libvirt_pool(system: SystemLibvirtd, disk: LoopDisk, label: str) -> Any:
    document = (
        f"<pool type='disk'><name>{disk.name}-{uuid4()}</name><source>"
        f"<device path='{disk.path}'/><format type='{label}'/></source>"
        "<target><path>/dev</path></target></pool>"
    )
    return system.connection.storagePoolCreateXML(document)


def documents(volumes: list[Any], xml: str) -> dict[str, dict[str, str | None]]:
    """Return of each volume's document what both have to tell alike."""
    found = {}
    for volume in volumes:
        document = etree.fromstring(getattr(volume, xml)())
        extent = document.find("source/device/extent")
        assert extent is not None
        found[str(document.findtext("name"))] = {
            "type": document.get("type"),
            "capacity": document.findtext("capacity"),
            "allocation": document.findtext("allocation"),
            "physical": document.findtext("physical"),
            "path": document.findtext("target/path"),
            "start": extent.get("start"),
            "end": extent.get("end"),
        }
    return found


@both
def test_libvirt_finds_the_same_volumes(
    conn: volary.Connection, disk: LoopDisk, system_libvirtd: SystemLibvirtd, label: str
) -> None:
    ours = pool_on(conn, disk, label)
    make(ours, disk, 1, 5 * MIB)
    if label == "dos":
        make(ours, disk, 2, 60 * MIB, "extended")
    for number in (5, 6, 3):
        make(ours, disk, number, number * MIB + 1)
    theirs = libvirt_pool(system_libvirtd, disk, label)
    try:
        ours.refresh()
        assert documents(ours.volumes(), "xml") == documents(theirs.listAllVolumes(), "XMLDesc")
    finally:
        theirs.destroy()


@both
def test_what_libvirt_makes_is_found_with_the_same_sizes(
    conn: volary.Connection, disk: LoopDisk, system_libvirtd: SystemLibvirtd, label: str
) -> None:
    ours = pool_on(conn, disk, label)
    theirs = libvirt_pool(system_libvirtd, disk, label)
    try:
        formats = ["none", "extended" if label == "dos" else "linux", "linux-swap", "fat32"]
        if label == "dos":
            formats.append("linux")
        for number, format_ in enumerate(formats, 1):
            theirs.createXML(
                f"<volume><name>{disk.partition(number)}</name>"
                f"<capacity>{(60 if number == 2 else 5) * MIB}</capacity>"
                f"<target><format type='{format_}'/></target></volume>"
            )
        ours.refresh()
        assert documents(ours.volumes(), "xml") == documents(theirs.listAllVolumes(), "XMLDesc")
        taken = {info.name: info.format for info in ours.volume_infos()}
        told = {"dos": [*formats[:4], "none"], "gpt": ["none"] * 4}[label]
        assert [taken[disk.partition(number)] for number in range(1, len(told) + 1)] == told
        next_free = 6 if label == "dos" else 5
        make(ours, disk, next_free, MIB)
        theirs.refresh()
        assert set(theirs.listVolumes()) == set(sizes(ours))
    finally:
        theirs.destroy()


def test_libvirt_refuses_with_the_same_codes(
    conn: volary.Connection, disk: LoopDisk, system_libvirtd: SystemLibvirtd
) -> None:
    libvirt = system_libvirtd.libvirt
    pool = conn.define_pool(spec_on(disk, "gpt"))
    definition = (
        f"<pool type='disk'><name>{disk.name}-{uuid4()}</name><source>"
        f"<device path='{disk.path}'/><format type='gpt'/></source>"
        "<target><path>/dev</path></target></pool>"
    )
    peer = system_libvirtd.connection.storagePoolDefineXML(definition)

    def codes(ours: Any, theirs: Any, *arguments: Any) -> None:
        with pytest.raises(volary.VolaryError) as told:
            ours(*arguments)
        with pytest.raises(libvirt.libvirtError) as peers:
            theirs(*arguments)
        assert int(told.value.code) == peers.value.get_error_code()

    try:
        codes(pool.start, peer.create)
        codes(pool.build, peer.build, 4 | 8)
        codes(pool.build, peer.build, 1)
        pool.build()
        codes(pool.build, peer.build)
        codes(pool.build, peer.build, 4)
        disk.partition_by_hand("label: dos\n")
        codes(pool.start, peer.create)
        command("wipefs", "--all", "--quiet", disk.path)
        command("mkfs.ext4", "-q", disk.path)
        codes(pool.build, peer.build)
    finally:
        peer.undefine()
