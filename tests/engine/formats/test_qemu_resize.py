from __future__ import annotations

import errno
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from tests.conftest import NeedTool
from tests.engine.formats.qemu_images import (
    MIB,
    SECRET,
    a_luks,
    a_raw,
    described,
    opened,
    qemu_img,
    qemu_io,
)

from volary.engine.errors import InvalidSpec, Unsupported
from volary.engine.formats.qemu_check import check
from volary.engine.formats.qemu_resize import _Before, finish, resize
from volary.engine.progress import Done
from volary.engine.volume_spec import Preallocation

WRITTEN = 16 * MIB


@pytest.fixture(autouse=True)
def _qemu(need_tool: NeedTool) -> None:
    need_tool("qemu-img", "qemu-utils")
    need_tool("qemu-io", "qemu-utils")


def an_image(path: Path, format_: str, *options: str) -> Path:
    """Make an image of 64 MiB with 16 MiB of data in it."""
    qemu_img("create", "-q", "-f", format_, *options, path, 64 * MIB)
    qemu_io(path, format_, f"write -P 7 0 {WRITTEN}")
    return path


def assert_sound(path: Path, format_: str, capacity: int) -> None:
    """Fail unless the image has this capacity, the data, and no error or leak."""
    assert described(path)["virtual-size"] == capacity
    qemu_img("check", "-q", "-f", format_, path)
    kept = min(WRITTEN, capacity)
    qemu_io(path, format_, f"read -P 7 0 {kept}", f"read -P 0 {kept} {capacity - kept}")


@pytest.mark.parametrize("format_", ["qcow2", "qed"])
def test_an_image_grows_and_reads_as_zeros_there(tmp_path: Path, format_: str) -> None:
    path = an_image(tmp_path / "disk", format_)
    with opened(path, format_, 64 * MIB) as image:
        finish(resize(image, 100 * MIB))
    assert_sound(path, format_, 100 * MIB)


def test_a_capacity_is_rounded_up_to_a_sector(tmp_path: Path) -> None:
    path = an_image(tmp_path / "disk", "qcow2")
    with opened(path, "qcow2", 64 * MIB) as image:
        finish(resize(image, 64 * MIB + 1))
    assert_sound(path, "qcow2", 64 * MIB + 512)


@pytest.mark.parametrize("way", ["metadata", "falloc", "full"])
def test_what_is_added_is_on_disk_as_asked(tmp_path: Path, way: Preallocation) -> None:
    path = an_image(tmp_path / "disk", "qcow2")
    with opened(path, "qcow2", 64 * MIB) as image:
        before = os.fstat(image.fd).st_blocks * 512
        finish(resize(image, 80 * MIB, preallocation=way))
        added = os.fstat(image.fd).st_blocks * 512 - before
        assert (added >= 16 * MIB) == (way != "metadata")
        assert os.fstat(image.fd).st_size > WRITTEN + 16 * MIB
    assert_sound(path, "qcow2", 80 * MIB)


@pytest.mark.parametrize("way", ["off", "falloc", "full"])
def test_a_luks_image_grows_and_shrinks(tmp_path: Path, way: Preallocation) -> None:
    path = a_luks(tmp_path / "disk")
    before = path.read_bytes()
    with opened(path, "luks", 8 * MIB, secret=SECRET) as image:
        finish(resize(image, 12 * MIB, preallocation=way))
        assert described(path)["virtual-size"] == 12 * MIB
        assert (os.fstat(image.fd).st_blocks * 512 >= 12 * MIB) == (way != "off")
        finish(resize(replace(image, capacity=12 * MIB), 8 * MIB, shrink=True))
    assert path.read_bytes() == before


def test_a_cancelled_growth_of_a_luks_image_leaves_it_as_it_was(tmp_path: Path) -> None:
    path = a_luks(tmp_path / "disk")
    before = path.read_bytes()
    with opened(path, "luks", 8 * MIB, secret=SECRET) as image:
        work = resize(image, 512 * MIB, preallocation="full")
        for _ in zip(range(20), work, strict=False):
            pass
        work.close()
    assert path.read_bytes() == before


def test_an_overlay_grows_beyond_its_end_without_showing_what_is_below(tmp_path: Path) -> None:
    a_raw(tmp_path / "base", 2 * MIB, (0, 2 * MIB, 9))
    top = tmp_path / "top"
    qemu_img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", top, MIB)
    with (
        opened(tmp_path / "base", "raw", 2 * MIB) as base,
        opened(top, "qcow2", MIB, backing=base) as overlay,
    ):
        finish(resize(overlay, 2 * MIB))
    qemu_io(top, "qcow2", "read -P 9 0 1M", "read -P 0 1M 1M")


def test_an_image_shrinks_when_that_is_asked_for(tmp_path: Path) -> None:
    path = an_image(tmp_path / "disk", "qcow2")
    with opened(path, "qcow2", 64 * MIB) as image:
        finish(resize(image, 8 * MIB, shrink=True))
    assert_sound(path, "qcow2", 8 * MIB)
    assert path.stat().st_size < 10 * MIB


def test_an_image_does_not_shrink_when_that_is_not_asked_for(tmp_path: Path) -> None:
    path = an_image(tmp_path / "disk", "qcow2")
    with (
        opened(path, "qcow2", 64 * MIB) as image,
        pytest.raises(InvalidSpec, match=r"^disk: 8388608 bytes are less than its 67108864"),
    ):
        finish(resize(image, 8 * MIB))
    assert_sound(path, "qcow2", 64 * MIB)


@pytest.mark.parametrize("format_", ["vmdk", "vdi", "vpc", "vhdx", "qcow"])
def test_a_format_that_qemu_does_not_resize_is_refused(tmp_path: Path, format_: str) -> None:
    qemu_img("create", "-q", "-f", format_, tmp_path / "disk", MIB)
    with (
        opened(tmp_path / "disk", format_, MIB) as image,
        pytest.raises(Unsupported, match=f"resizes no image of the format {format_}; clone it"),
    ):
        finish(resize(image, 2 * MIB))


def test_what_a_qed_cannot_is_refused(tmp_path: Path) -> None:
    with opened(an_image(tmp_path / "disk", "qed"), "qed", 64 * MIB) as image:
        with pytest.raises(Unsupported, match="'full'; choose one of off"):
            finish(resize(image, 80 * MIB, preallocation="full"))
        with pytest.raises(Unsupported, match="shrinks no image"):
            finish(resize(image, MIB, shrink=True))


@pytest.mark.parametrize("format_", ["qcow2", "qed"])
def test_a_growth_closed_before_it_begins_changes_nothing(tmp_path: Path, format_: str) -> None:
    path = an_image(tmp_path / "disk", format_)
    before = path.read_bytes()
    with opened(path, format_, 64 * MIB) as image:
        work = resize(image, 100 * MIB)
        next(work)
        work.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("lazy", ["on", "off"])
@pytest.mark.parametrize("way", get_args(Preallocation))
def test_a_cancelled_growth_leaves_the_image_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Preallocation, lazy: str
) -> None:
    moments = random.Random(f"{way} {lazy}")
    path = an_image(tmp_path / "disk", "qcow2", "-o", f"lazy_refcounts={lazy}")
    with opened(path, "qcow2", 64 * MIB) as image:
        before = os.fstat(image.fd).st_blocks
        for _ in range(4):
            # From before QEMU has begun to after it has written the new size.
            monkeypatch.setattr(
                "volary.engine.formats.process.SLICE", moments.choice((0.004, 0.008, 0.03))
            )
            work = resize(image, 2 << 30, preallocation=way)
            for _ in zip(range(moments.randint(2, 8)), work, strict=False):
                pass
            work.close()
            if described(path)["virtual-size"] == 2 << 30:  # it was over before it was closed
                finish(resize(replace(image, capacity=2 << 30), 64 * MIB, shrink=True))
                continue
            assert_sound(path, "qcow2", 64 * MIB)
            # What of it is on disk: a reference count block at its end may keep the file long.
            assert (os.fstat(image.fd).st_blocks - before) * 512 < 2 * MIB


@pytest.mark.parametrize("format_", ["qcow2", "qed"])
def test_a_growth_killed_after_it_wrote_the_new_size_is_undone(
    tmp_path: Path, format_: str
) -> None:
    path = an_image(tmp_path / "disk", format_)
    with opened(path, format_, 64 * MIB) as image:
        before = _Before(image)
        qemu_img("resize", "-q", "-f", format_, path, 100 * MIB)
        before.restore()
    assert_sound(path, format_, 64 * MIB)


def test_a_shrinkage_closed_early_is_carried_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = an_image(tmp_path / "disk", "qcow2")
    monkeypatch.setattr("volary.engine.formats.process.SLICE", 0.001)
    with opened(path, "qcow2", 64 * MIB) as image:
        work = resize(image, 8 * MIB, shrink=True)
        next(work)
        next(work)
        work.close()
    assert_sound(path, "qcow2", 8 * MIB)


def test_a_growth_that_fails_leaves_the_image_as_it_was(tmp_path: Path) -> None:
    path = an_image(tmp_path / "disk", "qcow2")
    before = path.read_bytes()
    with (
        opened(path, "qcow2", 64 * MIB) as image,
        pytest.raises(OSError, match=os.strerror(errno.EFBIG)),
    ):
        finish(resize(image, 1 << 62))
    assert_sound(path, "qcow2", 64 * MIB)
    assert path.read_bytes() == before


def test_progress_of_a_growth_is_that_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = an_image(tmp_path / "disk", "qcow2")
    monkeypatch.setattr("volary.engine.formats.process.SLICE", 0.005)
    with opened(path, "qcow2", 64 * MIB) as image:
        work = resize(image, 320 * MIB, preallocation="full")
        steps = [step for step in work if isinstance(step, Done)][1:]
    assert steps[-1].done == steps[-1].total >= 256 * MIB
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert max(step.taken for step in steps) < 258 * MIB


def test_a_damaged_image_is_found_and_repaired(tmp_path: Path) -> None:
    path = an_image(tmp_path / "disk", "qcow2")
    with opened(path, "qcow2", 64 * MIB) as image:
        # The L1 table's first entry gone, what it led to is in use by nobody.
        l1 = int.from_bytes(os.pread(image.fd, 8, 40), "big")
        os.pwrite(image.fd, bytes(8), l1)
        assert finish(check(image)).leaks >= 256
        assert finish(check(image, repair="leaks")).leaks == 0
        assert finish(check(image)).leaks == 0


def test_a_format_without_a_check_is_refused(tmp_path: Path) -> None:
    a_raw(tmp_path / "disk", MIB)
    with (
        opened(tmp_path / "disk", "raw", MIB) as image,
        pytest.raises(Unsupported, match="has no check"),
    ):
        finish(check(image))
