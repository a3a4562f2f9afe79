"""Pools of type "fs", and what this host's own tools say of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import NeedTool
from tests.engine.backends.pool_kinds import KINDS, MIB, FileSystemKind
from tests.system.conftest import RunHost
from tests.system.crash import crash
from tests.system.deadline import wait_until
from tests.system.own_libvirtd import SystemLibvirtd

import volary
from volary.engine.backends.mounted_directory import MountedDirectory
from volary.engine.progress import Operation
from volary.engine.volume_info import VolumeInfo

pytestmark = pytest.mark.usefixtures("need_root")

FILE_SYSTEMS = [kind for kind in KINDS if isinstance(kind, FileSystemKind)]


def by_format(*formats: str) -> pytest.MarkDecorator:
    """Run a test on devices with these file systems only."""
    kinds = [kind for kind in FILE_SYSTEMS if kind.format in formats and not kind.image]
    return pytest.mark.parametrize("kind", kinds, ids=[k.name for k in kinds], indirect=True)


@pytest.fixture(params=FILE_SYSTEMS, ids=[kind.name for kind in FILE_SYSTEMS])
def kind(request: pytest.FixtureRequest) -> FileSystemKind:
    found: FileSystemKind = request.param
    return found


@pytest.fixture
def spec(kind: FileSystemKind, tmp_path: Path, need_tool: NeedTool) -> Iterator[volary.PoolSpec]:
    with kind.make(tmp_path, need_tool) as made:
        yield made
        while mounted(made.target):
            told("umount", made.target)


@pytest.fixture
def conn(spec: volary.PoolSpec, tmp_path: Path) -> Iterator[volary.Connection]:
    """An engine that ends before what it has mounted is unmounted."""
    assert spec.type == "fs"
    with volary.open(state_dir=tmp_path / "state") as connection:
        yield connection


@pytest.fixture
def pool(conn: volary.Connection, spec: volary.PoolSpec) -> volary.Pool:
    """An active pool, which was just formatted."""
    defined = conn.define_pool(spec)
    defined.start(volary.PoolStart.BUILD_NO_OVERWRITE)
    return defined


@pytest.fixture
def device(pool: volary.Pool) -> str:
    """The block device that the pool's file system is on."""
    return str(mounted(pool.target)[0]["source"])


def told(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def mounted(target: str) -> list[Mapping[str, Any]]:
    """Return what findmnt says of what is mounted there; sizes in bytes."""
    columns = "SOURCE,TARGET,FSTYPE,OPTIONS,SIZE,USED"
    done = subprocess.run(
        ["findmnt", "--json", "--bytes", "--output", columns, "--mountpoint", target],
        capture_output=True,
        check=False,
    )
    found: list[Mapping[str, Any]] = json.loads(done.stdout or "{}").get("filesystems", [])
    return found


def digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def image_of(spec: volary.PoolSpec) -> str:
    """Return where the bytes are."""
    return str(Path(spec.target).parent / "image")


# What others say.


def test_findmnt_and_statvfs_say_what_we_say(pool: volary.Pool, kind: FileSystemKind) -> None:
    (found,) = mounted(pool.target)
    info = pool.info()
    facts = os.statvfs(pool.target)
    assert (found["target"], found["fstype"]) == (pool.target, kind.format)
    assert info.capacity == int(found["size"]) == facts.f_blocks * facts.f_frsize
    assert info.available in (facts.f_bavail * facts.f_frsize, facts.f_bfree * facts.f_frsize)
    assert info.allocation == info.capacity - info.available


def test_lsblk_finds_the_device_mounted_at_the_target(pool: volary.Pool, device: str) -> None:
    output = told("lsblk", "--json", "--bytes", "--output", "PATH,SIZE,MOUNTPOINTS", device)
    (found,) = json.loads(output)["blockdevices"]
    assert found["mountpoints"] == [pool.target]
    assert 0 < pool.info().capacity <= int(found["size"])


def test_blkid_finds_the_format_of_the_definition(
    pool: volary.Pool, kind: FileSystemKind, device: str
) -> None:
    assert pool.is_active
    found = told("blkid", "--probe", "--output", "value", "--match-tag", "TYPE", device)
    assert found.strip() == kind.format


def test_an_image_is_attached_while_its_pool_is_active(
    pool: volary.Pool, spec: volary.PoolSpec, device: str
) -> None:
    def attached() -> list[str]:
        found = told("losetup", "--json", "--output", "NAME,BACK-FILE")
        devices = json.loads(found or "{}").get("loopdevices", [])
        return [each["name"] for each in devices if each["back-file"] == image_of(spec)]

    source = spec.source.devices[0].path
    assert attached() == [device]
    pool.stop()
    assert mounted(pool.target) == []
    before = [] if source == image_of(spec) else [source]
    wait_until(lambda: attached() == before, "what was attached for the pool is detached")


# Building.


@by_format("ext4", "xfs", "btrfs")
def test_no_overwrite_leaves_every_byte_and_overwrite_makes_it_anew(
    pool: volary.Pool, spec: volary.PoolSpec
) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    pool.stop()
    before = digest(image_of(spec))
    for refused in (pool.build, pool.start):
        flags: Any = 4  # NO_OVERWRITE, for both
        with pytest.raises(volary.SourceNotEmpty, match="holds"):
            refused(flags)
    assert digest(image_of(spec)) == before
    pool.start(volary.PoolStart.BUILD)
    assert pool.volume("a").info().capacity == MIB
    pool.stop()
    pool.start(volary.PoolStart.BUILD_OVERWRITE)
    assert "a" not in [volume.name for volume in pool.volumes()]


# What goes wrong.


def test_a_pool_whose_mount_is_taken_away_is_shown_so_and_heals(
    pool: volary.Pool, spec: volary.PoolSpec
) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    told("umount", "--lazy", pool.target)
    assert pool.info().state is volary.PoolState.INACCESSIBLE
    with pytest.raises(volary.TargetUnusable, match="taken away"):
        pool.create_volume(volary.VolumeSpec("b", capacity=MIB))
    assert os.listdir(pool.target) == []
    if pool.is_active:
        pool.stop()
    pool.start()
    assert pool.info().state is volary.PoolState.RUNNING
    assert mounted(spec.target)
    assert pool.volume("a").info().capacity == MIB


@by_format("ext4")
def test_a_pool_that_became_read_only_is_shown_so(pool: volary.Pool) -> None:
    told("mount", "-o", "remount,ro", pool.target)
    assert pool.info().state is volary.PoolState.DEGRADED
    with pytest.raises(volary.ReadOnly):
        pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    told("mount", "-o", "remount,rw", pool.target)
    assert pool.info().state is volary.PoolState.RUNNING


@by_format("ext4")
def test_a_pool_in_use_stays_active_when_it_is_stopped(pool: volary.Pool) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    with (
        open(pool.volume("a").path, "rb"),
        pytest.raises(volary.PoolBusy, match=f"process {os.getpid()}"),
    ):
        pool.stop()
    assert pool.is_active
    pool.create_volume(volary.VolumeSpec("b", capacity=MIB))
    pool.stop()
    assert mounted(pool.target) == []


@by_format("ext4")
def test_a_pool_whose_first_scan_fails_is_not_left_mounted(
    pool: volary.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scan(self: MountedDirectory, _: object) -> Operation[dict[str, VolumeInfo]]:
        raise volary.StorageFailed(f"{self.spec.name}: a bad block")

    pool.stop()
    with monkeypatch.context() as patch:
        patch.setattr(MountedDirectory, "scan", scan)
        with pytest.raises(volary.StorageFailed, match="bad block"):
            pool.start()
    assert not pool.is_active
    assert mounted(pool.target) == []
    pool.start()
    assert mounted(pool.target)


@by_format("ext4")
def test_a_start_that_is_cancelled_leaves_an_active_pool_or_nothing_mounted(
    pool: volary.Pool,
) -> None:
    pool.stop()
    for _ in range(10):
        job = pool.start(volary.ASYNC)
        job.cancel()
        wait([job])
        assert bool(mounted(pool.target)) == pool.is_active
        if pool.is_active:
            pool.stop()


@by_format("ext4")
def test_a_pool_that_crashes_keeps_its_mount(pool: volary.Pool) -> None:
    pool.create_volume(volary.VolumeSpec("a", capacity=MIB))
    crash(pool)
    assert pool.volume("a").info().capacity == MIB
    assert len(mounted(pool.target)) == 1


_KILLED = """
import os, signal, sys
import volary
conn = volary.open(state_dir=sys.argv[1])
pool = conn.define_pool(open(sys.argv[2]).read())
pool.start(volary.PoolStart.BUILD_NO_OVERWRITE)
pool.create_volume(volary.VolumeSpec("a", capacity=1 << 20))
os.kill(os.getpid(), signal.SIGKILL)
"""


@by_format("ext4", "xfs")
def test_the_engine_after_a_killed_one_takes_its_mount_over(
    spec: volary.PoolSpec, tmp_path: Path, run_host: RunHost
) -> None:
    (tmp_path / "pool.xml").write_text(document(spec))
    killed = run_host(_KILLED, tmp_path / "state", tmp_path / "pool.xml")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(mounted(spec.target)) == 1
    with volary.open(state_dir=tmp_path / "state") as conn:
        pool = conn.pool("pool")
        if not pool.is_active:
            pool.start()
        assert pool.volume("a").info().capacity == MIB
        assert len(mounted(spec.target)) == 1
        pool.stop()
    assert mounted(spec.target) == []


# libvirt's own pool on the same device.


def document(spec: volary.PoolSpec) -> str:
    source = spec.source
    return f"""
        <pool type='fs'>
          <name>{spec.name}</name>
          <uuid>{spec.uuid}</uuid>
          <source>
            <device path='{source.devices[0].path}'/>
            <format type='{source.format}'/>
          </source>
          <target><path>{spec.target}</path></target>
        </pool>"""


def without_use(document: str) -> str:
    """Return it without what is taken of the capacity: libvirt calls available what ext4 reserves
    for root, too.
    """
    return re.sub(r" *<(allocation|available) .*\n", "", document)


@by_format("ext4", "xfs")
def test_libvirt_tells_the_same_of_the_same_pool(
    conn: volary.Connection, spec: volary.PoolSpec, system_libvirtd: SystemLibvirtd
) -> None:
    pool = conn.define_pool(document(spec))
    pool.start(volary.PoolStart.BUILD_NO_OVERWRITE)
    pool.create_volume(volary.VolumeSpec("a", capacity=MIB, allocation=MIB))
    options = mounted(pool.target)[0]["options"]
    names = sorted(volume.name for volume in pool.volumes())
    active = pool.xml()
    pool.stop()
    theirs = system_libvirtd.connection.storagePoolDefineXML(document(spec))
    try:
        theirs.create()
        try:
            target = re.escape(spec.target)
            mountinfo = (system_libvirtd.root.parent / "mountinfo").read_text()
            (found,) = re.findall(rf" {target} (\S+) ", mountinfo)
            assert set(found.split(",")) <= set(options.split(","))
            assert without_use(theirs.XMLDesc()) == without_use(active)
            assert sorted(theirs.listVolumes()) == names
        finally:
            theirs.destroy()
    finally:
        theirs.undefine()


@by_format("btrfs")
@pytest.mark.parametrize("cow", [False, True, None])
def test_files_are_copied_on_write_as_the_pool_says(
    conn: volary.Connection, spec: volary.PoolSpec, *, cow: bool | None
) -> None:
    pool = conn.define_pool(replace(spec, cow=cow))
    pool.start(volary.PoolStart.BUILD_OVERWRITE)
    inner = conn.create_pool(
        volary.PoolSpec("inner", target=f"{spec.target}/inner", cow=cow), volary.PoolStart.BUILD
    )
    for where in (pool, inner):
        volume = where.create_volume(volary.VolumeSpec("a", capacity=MIB))
        assert ("C" in told("lsattr", "-d", volume.path).split()[0]) == (cow is False)
    inner.stop()
    pool.stop()


def test_a_directory_that_is_not_on_btrfs_has_no_choice_of_copy_on_write(tmp_path: Path) -> None:
    target = tmp_path / "pool"
    with volary.open(state_dir=tmp_path / "state") as conn:
        pool = conn.define_pool(volary.PoolSpec("a", target=target, cow=True))
        with pytest.raises(volary.StorageFailed, match="btrfs only"):
            pool.build()
    assert not target.exists()
