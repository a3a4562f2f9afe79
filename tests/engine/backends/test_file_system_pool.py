"""What is a file system's pool's own; the rest is in test_every_backend.py."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pytest
from tests.conftest import NeedTool
from tests.engine.backends.pool_kinds import MIB, loop_device
from tests.engine.formats.driven import driven
from tests.system.deadline import wait_until

from volary.engine import loop_device as loops
from volary.engine.backends import ActivePool, backend_for
from volary.engine.backends.file_system_pool import FileSystemBackend
from volary.engine.errors import (
    InvalidSpec,
    PoolBusy,
    SourceNotEmpty,
    SourceUnusable,
    TargetNotEmpty,
    TargetUnusable,
    Unsupported,
    VolaryError,
    VolumeBusy,
    VolumeNotFound,
)
from volary.engine.flags import PoolBuild
from volary.engine.mounts import mounts
from volary.engine.pool_info import PoolState
from volary.engine.pool_source import PoolSource, SourceDevice
from volary.engine.pool_spec import PoolSpec
from volary.engine.volume_spec import VolumeSpec
from volary.engine.wipe_algorithm import WipeAlgorithm

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")

_FORMATTING = PoolBuild.OVERWRITE | PoolBuild.NO_OVERWRITE


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image with nothing on it."""
    (tmp_path / "image").touch()
    os.truncate(tmp_path / "image", 64 * MIB)
    return tmp_path / "image"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "pool"


MakeSpec = Callable[..., PoolSpec]


@pytest.fixture
def pool_of(target: Path, need_tool: NeedTool) -> Iterator[MakeSpec]:
    """Make a pool's definition; what it leaves mounted is unmounted."""
    for tool, package in (("mkfs.ext4", "e2fsprogs"), ("wipefs", "util-linux")):
        need_tool(tool, package)

    def pool_of(
        device: Path | str,
        format: str = "ext4",  # noqa: A002 - libvirt's word
        options: tuple[str, ...] = (),
    ) -> PoolSpec:
        return PoolSpec(
            "pool",
            type="fs",
            target=target,
            source=PoolSource(devices=(SourceDevice(str(device)),), format=format),
            uuid=uuid4(),
            mount_options=options,
        )

    yield pool_of
    while any(mount.point == str(target) for mount in mounts()):
        command("umount", target)


@pytest.fixture
def spec(pool_of: MakeSpec, image: Path) -> PoolSpec:
    """A pool on the image that is built."""
    made = pool_of(image)
    driven(backend_for(made).build(PoolBuild.NO_OVERWRITE))
    return made


@pytest.fixture
def active(spec: PoolSpec) -> Iterator[ActivePool]:
    pool = driven(backend_for(spec).start())
    yield pool
    driven(pool.stop())


def command(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def known_of(device: Path | str) -> set[str]:
    """Return what wipefs finds."""
    return set(command("wipefs", "--noheadings", "--output", "TYPE", device).split())


def digest(image: Path) -> str:
    return hashlib.sha256(image.read_bytes()).hexdigest()


def mounted_at(target: Path) -> list[str]:
    return [mount.source for mount in mounts() if mount.point == str(target)]


# Building.


def test_building_without_a_flag_makes_the_directory_alone(
    pool_of: MakeSpec, image: Path, target: Path
) -> None:
    driven(backend_for(pool_of(image)).build())
    assert target.is_dir()
    assert known_of(image) == set()


@pytest.mark.parametrize("format_", ["ext2", "ext3", "ext4", "vfat"])
def test_building_makes_the_file_system(
    pool_of: MakeSpec, image: Path, need_tool: NeedTool, format_: str
) -> None:
    need_tool("mkfs.vfat", "dosfstools")
    driven(backend_for(pool_of(image, format_)).build(PoolBuild.NO_OVERWRITE))
    assert known_of(image) == {format_}


def _file_system(image: Path) -> None:
    command("mkfs.ext4", "-q", image)


def _swap(image: Path) -> None:
    command("mkswap", image)


def _partitions(image: Path) -> None:
    subprocess.run(["sfdisk", "--quiet", image], input=b"label: gpt\n,8M\n", check=True)


def _dos_partitions(image: Path) -> None:
    subprocess.run(["sfdisk", "--quiet", image], input=b"label: dos\n,8M\n", check=True)


_QUICK_KEY = ("--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000")


def _encryption(image: Path) -> None:
    subprocess.run(
        ["cryptsetup", "luksFormat", "--batch-mode", *_QUICK_KEY, image, "-"],
        input=b"secret",
        check=True,
    )


_HELD = {
    "ext4": _file_system,
    "swap": _swap,
    "gpt": _partitions,
    "dos": _dos_partitions,
    "crypto_LUKS": _encryption,
}


@pytest.fixture(params=_HELD)
def held(
    request: pytest.FixtureRequest, pool_of: MakeSpec, image: Path, need_tool: NeedTool
) -> tuple[PoolSpec, str]:
    """A pool on an image that somebody else uses for something."""
    need_tool("sfdisk", "fdisk")
    need_tool("cryptsetup", "cryptsetup-bin")
    _HELD[request.param](image)
    return pool_of(image), request.param


def test_no_overwrite_refuses_what_is_known_and_leaves_every_byte(
    held: tuple[PoolSpec, str], image: Path, target: Path
) -> None:
    spec, what = held
    before = digest(image)
    with pytest.raises(SourceNotEmpty, match=what):
        driven(backend_for(spec).build(PoolBuild.NO_OVERWRITE))
    assert digest(image) == before
    assert not target.exists()


def test_overwrite_leaves_nothing_else_that_is_known(
    held: tuple[PoolSpec, str], image: Path
) -> None:
    spec, _ = held
    driven(backend_for(spec).build(PoolBuild.OVERWRITE))
    assert known_of(image) == {"ext4"}


def test_a_file_system_that_has_no_room_costs_nothing_that_was_there(
    pool_of: MakeSpec, image: Path, need_tool: NeedTool
) -> None:
    need_tool("mkfs.xfs", "xfsprogs")
    _file_system(image)
    before = digest(image)
    with pytest.raises(SourceUnusable, match="must be larger than 300MB"):
        driven(backend_for(pool_of(image, "xfs")).build(PoolBuild.OVERWRITE))
    assert digest(image) == before


@pytest.mark.parametrize("flags", [_FORMATTING, PoolBuild.REPAIR, PoolBuild.RESIZE])
def test_flags_that_mean_nothing_here_are_refused(
    pool_of: MakeSpec, image: Path, target: Path, flags: PoolBuild
) -> None:
    with pytest.raises(InvalidSpec, match=r"pool 'pool': .*OVERWRITE"):
        driven(backend_for(pool_of(image)).build(flags))
    assert not target.exists()


def test_a_format_that_cannot_be_made_is_refused(pool_of: MakeSpec, image: Path) -> None:
    with pytest.raises(Unsupported, match="define the pool with one of ext2"):
        driven(backend_for(pool_of(image, "auto")).build(PoolBuild.OVERWRITE))


def test_what_is_mounted_is_never_formatted(active: ActivePool, image: Path) -> None:
    with pytest.raises(SourceUnusable, match=r"is mounted at .*; unmount it"):
        driven(backend_for(active.spec).build(PoolBuild.OVERWRITE))
    assert known_of(image) == {"ext4"}


def test_a_volume_that_is_the_image_of_a_pool_in_use_is_not_written_over(
    active: ActivePool, image: Path
) -> None:
    spec = PoolSpec("dir", type="dir", target=image.parent, uuid=uuid4())
    images = driven(backend_for(spec).start())
    now = driven(images.scan({}))[image.name]
    with pytest.raises(VolumeBusy, match="is attached to /dev/loop"):
        driven(images.wipe_volume(image.name, WipeAlgorithm.ZERO))
    with pytest.raises(VolumeBusy, match="is attached to /dev/loop"):
        driven(images.delete_volume(image.name, zeroed=True))
    with pytest.raises(VolumeBusy, match="is attached to /dev/loop"):
        driven(images.delete_volume(image.name))
    with pytest.raises(VolumeBusy, match="is attached to /dev/loop"):
        driven(images.resize_volume(image.name, now, MIB, allocate=False, below=(), secret=None))
    images.close()
    assert image.stat().st_size == 64 * MIB
    assert known_of(image) == {"ext4"}


def test_an_image_that_is_attached_is_never_formatted(
    spec: PoolSpec, image: Path, need_tool: NeedTool
) -> None:
    with (
        loop_device(image, need_tool) as device,
        pytest.raises(SourceUnusable, match=f"is attached to {device}; detach it"),
    ):
        driven(backend_for(spec).build(PoolBuild.OVERWRITE))


def test_a_disk_with_a_mounted_partition_is_never_formatted(
    pool_of: MakeSpec, image: Path, tmp_path: Path, need_tool: NeedTool
) -> None:
    need_tool("sfdisk", "fdisk")
    _partitions(image)
    (tmp_path / "partition").mkdir()
    with loop_device(image, need_tool) as device:
        command("partx", "--update", device)  # for kernels that read no partition tables
        _file_system(Path(f"{device}p1"))
        command("mount", f"{device}p1", tmp_path / "partition")
        try:
            with pytest.raises(SourceUnusable, match="is in use"):
                driven(backend_for(pool_of(device)).build(PoolBuild.OVERWRITE))
        finally:
            command("umount", tmp_path / "partition")
        assert "gpt" in known_of(device)


def test_a_link_that_leads_elsewhere_by_now_has_nothing_else_formatted(
    pool_of: MakeSpec, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").write_bytes(b"precious" * MIB)
    (tmp_path / "link").symlink_to(image)
    work = backend_for(pool_of(tmp_path / "link")).build(PoolBuild.NO_OVERWRITE)
    list(islice(work, 2))  # where it may be paused once it has looked
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "other")
    driven(work)
    assert (tmp_path / "other").read_bytes() == b"precious" * MIB
    assert known_of(image) == {"ext4"}


def test_a_cancelled_formatting_leaves_nothing_that_looks_like_a_file_system(
    pool_of: MakeSpec, image: Path
) -> None:
    os.truncate(image, 1 << 40)  # a third of a second's work
    for steps in range(1, 1000):
        work = backend_for(pool_of(image, "ext2")).build(PoolBuild.NO_OVERWRITE)
        if len(list(islice(work, steps))) < steps:
            break
        work.close()
        assert known_of(image) == set(), f"closed after {steps} steps"
    assert known_of(image) == {"ext2"}
    assert steps > 2


def test_deleting_removes_the_directory_and_keeps_the_file_system(
    spec: PoolSpec, image: Path, target: Path
) -> None:
    driven(backend_for(spec).delete())
    assert not target.exists()
    assert known_of(image) == {"ext4"}


def test_deleting_what_is_mounted_is_refused(active: ActivePool, target: Path) -> None:
    with pytest.raises(TargetNotEmpty, match="unmount it first"):
        driven(backend_for(active.spec).delete())
    assert mounted_at(target)


# Starting.


def test_starting_mounts_for_volumes_only(active: ActivePool, target: Path) -> None:
    found = command("findmnt", "--noheadings", "--output", "FSTYPE,OPTIONS", target)
    assert found.split()[0] == "ext4"
    assert found.split()[1].startswith("rw,nosuid,nodev,noexec,")


def test_mount_options_are_those_of_the_definition(
    pool_of: MakeSpec, spec: PoolSpec, image: Path, target: Path
) -> None:
    again = pool_of(image, options=("noatime,exec", "commit=17"))
    assert again.target == spec.target
    pool = driven(backend_for(again).start())
    found = command("findmnt", "--noheadings", "--output", "OPTIONS", target).strip().split(",")
    driven(pool.stop())
    assert {"noatime", "commit=17"} <= set(found)
    assert "noexec" not in found


def test_auto_finds_out_what_it_is(pool_of: MakeSpec, spec: PoolSpec, image: Path) -> None:
    pool = driven(backend_for(pool_of(image, "auto")).start())
    assert pool.state() is PoolState.RUNNING
    driven(pool.stop())


def test_a_source_that_is_missing_is_named(pool_of: MakeSpec, tmp_path: Path) -> None:
    spec = pool_of(tmp_path / "nowhere")
    for work in (backend_for(spec).start(), backend_for(spec).build(PoolBuild.OVERWRITE)):
        with pytest.raises(SourceUnusable, match="nowhere is missing; attach it"):
            driven(work)


def test_a_source_that_can_have_no_file_system_is_refused(
    pool_of: MakeSpec, tmp_path: Path
) -> None:
    with pytest.raises(SourceUnusable, match="neither a block device nor an image"):
        driven(backend_for(pool_of(tmp_path)).start())
    with pytest.raises(SourceUnusable, match="no absolute path"):
        driven(backend_for(pool_of("--bind")).start())


def test_a_source_of_two_devices_is_refused(target: Path) -> None:
    both = PoolSource(devices=(SourceDevice("/dev/a"), SourceDevice("/dev/b")), format="ext4")
    with pytest.raises(SourceUnusable, match="2 source devices"):
        driven(backend_for(PoolSpec("p", type="fs", target=target, source=both)).start())


def test_a_device_that_is_not_formatted_says_so(
    pool_of: MakeSpec, image: Path, target: Path
) -> None:
    backend = backend_for(pool_of(image))
    driven(backend.build())
    with pytest.raises(SourceUnusable, match="holds no file system; build the pool"):
        driven(backend.start())
    assert mounted_at(target) == []
    assert loops.devices_on(image.stat()) == []


def test_a_device_of_another_format_says_what_it_holds(
    pool_of: MakeSpec, spec: PoolSpec, image: Path, target: Path
) -> None:
    with pytest.raises(SourceUnusable, match=r"holds ext4 .*to be mounted as 'xfs'"):
        driven(backend_for(pool_of(image, "xfs")).start())
    assert mounted_at(target) == []


@pytest.mark.parametrize("option", ["nonsense", "commit=many", "noatime\nexec"])
def test_options_that_cannot_be_meant_so_leave_nothing_mounted(
    pool_of: MakeSpec, spec: PoolSpec, image: Path, target: Path, option: str
) -> None:
    with pytest.raises(VolaryError, match="pool 'pool'"):
        driven(backend_for(pool_of(image, options=(option,))).start())
    assert mounted_at(target) == []
    assert loops.devices_on(image.stat()) == []


def test_a_missing_target_says_to_build_it(spec: PoolSpec, target: Path) -> None:
    target.rmdir()
    with pytest.raises(TargetUnusable, match="is missing; build the pool first"):
        driven(backend_for(spec).start())


def test_a_target_where_something_else_is_mounted_is_refused(spec: PoolSpec, target: Path) -> None:
    command("mount", "-t", "tmpfs", "mine", target)
    with pytest.raises(TargetUnusable, match=r"mine \(tmpfs\) is mounted at"):
        driven(backend_for(spec).start())
    assert mounted_at(target) == ["mine"]


def test_what_is_mounted_there_already_is_taken_over_once(spec: PoolSpec, target: Path) -> None:
    first = driven(backend_for(spec).start())
    first.close()
    again = driven(backend_for(spec).start())
    assert len(mounted_at(target)) == 1
    driven(again.stop())
    assert mounted_at(target) == []


def test_undoing_a_start_unmounts_what_it_mounted(
    spec: PoolSpec, image: Path, target: Path
) -> None:
    driven(backend_for(spec).start()).undo_start()
    assert mounted_at(target) == []
    wait_until(lambda: loops.devices_on(image.stat()) == [], "the loop device is free")


def test_undoing_a_start_leaves_what_was_mounted_before(spec: PoolSpec, target: Path) -> None:
    command("mount", "-o", "loop", spec.source.devices[0].path, target)
    driven(backend_for(spec).start()).undo_start()
    assert len(mounted_at(target)) == 1


def test_a_start_that_is_closed_early_leaves_nothing_mounted(spec: PoolSpec, target: Path) -> None:
    work = backend_for(spec).start()
    next(work)
    work.close()
    assert mounted_at(target) == []


# Stopping.


def test_stopping_unmounts_and_detaches(spec: PoolSpec, image: Path, target: Path) -> None:
    driven(driven(backend_for(spec).start()).stop())
    assert mounted_at(target) == []
    wait_until(lambda: loops.devices_on(image.stat()) == [], "the loop device is free")


def test_a_pool_that_somebody_uses_says_who_and_stays_usable(
    active: ActivePool, target: Path
) -> None:
    driven(active.create_volume(VolumeSpec("a", capacity=1)))
    with (
        open(target / "a", "rb"),
        pytest.raises(PoolBusy, match=rf"stays active: .*busy; in use: process {os.getpid()} \("),
    ):
        driven(active.stop())
    assert active.state() is PoolState.RUNNING
    assert active.inspect("a").capacity == 1
    driven(active.create_volume(VolumeSpec("b", capacity=1)))
    assert (target / "b").exists()


def test_a_pool_that_another_file_system_is_mounted_over_is_not_stopped(
    active: ActivePool, target: Path
) -> None:
    command("mount", "-t", "tmpfs", "mine", target)
    try:
        with pytest.raises(PoolBusy, match=r"mine \(tmpfs\) is mounted over"):
            driven(active.stop())
    finally:
        command("umount", target)
    assert active.state() is PoolState.RUNNING


# What becomes of it meanwhile.


def test_a_pool_that_is_hidden_by_another_file_system_is_not_stopped(
    spec: PoolSpec, target: Path
) -> None:
    active = driven(backend_for(spec).start())
    command("mount", "-t", "tmpfs", "none", target.parent)
    try:
        with pytest.raises(PoolBusy, match=f"something is mounted over {target}"):
            driven(active.stop())
    finally:
        command("umount", target.parent)
    driven(active.stop())


def test_a_pool_that_is_gone_is_described_as_it_was_defined(spec: PoolSpec) -> None:
    active = driven(backend_for(spec).start())
    # As of a pool whose stop was cancelled just when it had unmounted everything.
    driven(active.stop())
    assert active.state() is PoolState.INACCESSIBLE
    assert active.found() == spec


def test_a_pool_whose_mount_is_taken_away_is_inaccessible_until_it_starts_again(
    spec: PoolSpec, target: Path
) -> None:
    backend = backend_for(spec)
    pool = driven(backend.start())
    driven(pool.create_volume(VolumeSpec("a", capacity=1)))
    command("umount", "--lazy", target)
    assert pool.state() is PoolState.INACCESSIBLE
    driven(pool.stop())
    again = driven(backend.start())
    assert again.state() is PoolState.RUNNING
    assert "a" in driven(again.scan({}))
    driven(again.stop())


def test_nothing_is_written_below_a_mount_that_was_taken_away(
    active: ActivePool, target: Path
) -> None:
    driven(active.create_volume(VolumeSpec("a", capacity=1)))
    command("umount", "--lazy", target)
    for work in (active.create_volume(VolumeSpec("b", capacity=1)), active.scan({})):
        with pytest.raises(TargetUnusable, match=r"taken away; stop the pool and start it"):
            driven(work)
    # What had begun goes on, on the file system that is still there for it.
    driven(active.wipe_volume("a", WipeAlgorithm.ZERO))
    assert os.listdir(target) == []


def test_a_volume_of_the_directory_below_is_none_of_the_pool(spec: PoolSpec, target: Path) -> None:
    (target / "below").touch()
    pool = driven(backend_for(spec).start())
    with pytest.raises(VolumeNotFound):
        pool.inspect("below")
    driven(pool.stop())
    assert os.listdir(target) == ["below"]


def test_a_pool_that_is_mounted_over_is_inaccessible(active: ActivePool, target: Path) -> None:
    command("mount", "-t", "tmpfs", "mine", target)
    assert active.state() is PoolState.INACCESSIBLE
    command("umount", target)
    assert active.state() is PoolState.RUNNING


def test_a_pool_that_became_read_only_is_degraded(active: ActivePool, target: Path) -> None:
    command("mount", "-o", "remount,ro", target)
    assert active.state() is PoolState.DEGRADED
    command("mount", "-o", "remount,rw", target)
    assert active.state() is PoolState.RUNNING


def test_a_pool_that_was_to_be_read_only_is_not_degraded(
    pool_of: MakeSpec, spec: PoolSpec, image: Path
) -> None:
    pool = driven(backend_for(pool_of(image, options=("ro",))).start())
    assert pool.state() is PoolState.RUNNING
    driven(pool.stop())


# What is there to make pools of.


def test_sources_are_the_devices_with_a_file_system_that_nobody_uses(
    image: Path, tmp_path: Path, need_tool: NeedTool
) -> None:
    def found() -> list[PoolSource]:
        return list(driven(FileSystemBackend.find_sources(PoolSource())))

    need_tool("sfdisk", "fdisk")
    _partitions(image)
    (tmp_path / "mount").mkdir()
    with loop_device(image, need_tool) as device:
        command("partx", "--update", device)  # for kernels that read no partition tables
        partition = f"{device}p1"
        _file_system(Path(partition))
        source = PoolSource(devices=(SourceDevice(partition),), format="ext4")
        assert source in found()
        assert not any(each.devices[0].path == device for each in found())
        command("mount", partition, tmp_path / "mount")
        try:
            assert source not in found()
        finally:
            command("umount", tmp_path / "mount")
