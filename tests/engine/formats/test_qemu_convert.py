from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest
from tests.conftest import NeedTool
from tests.engine.formats.qemu_images import (
    MIB,
    SECRET,
    a_luks,
    a_raw,
    an_encrypted_qcow2,
    described,
    opened,
    qemu_img,
    qemu_io,
)

from volary.engine.encryption import Encryption
from volary.engine.errors import ToolFailed, VolumeBusy, VolumeUnreadable
from volary.engine.formats import qcow2, qemu_create, raw
from volary.engine.formats.open_image import OpenImage
from volary.engine.formats.qemu_convert import convert, measure
from volary.engine.formats.qemu_img import limits_for, workload
from volary.engine.formats.qemu_resize import finish
from volary.engine.progress import Done, Operation
from volary.engine.volume_spec import VolumeSpec


@pytest.fixture(autouse=True)
def _qemu(need_tool: NeedTool) -> None:
    need_tool("qemu-img", "qemu-utils")
    need_tool("qemu-io", "qemu-utils")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A raw image with data, zeros and holes."""
    written = ((0, MIB, 1), (5 * MIB, MIB, 0), (7 * MIB + 4096, 4096, 2))
    return a_raw(tmp_path / "source", 8 * MIB, *written)


@pytest.mark.parametrize("format_", ["qcow2", "qed", "vmdk", "vdi", "vpc", "raw"])
def test_a_copy_in_another_format_and_back_is_the_same(
    tmp_path: Path, source: Path, format_: str
) -> None:
    options = ["-o", "force_size=on"] if format_ == "vpc" else []
    qemu_img("create", "-q", "-f", format_, *options, tmp_path / "copy", 8 * MIB)
    a_raw(tmp_path / "back", 8 * MIB)
    with (
        opened(source, "raw", 8 * MIB) as first,
        opened(tmp_path / "copy", format_, 8 * MIB) as copy,
        opened(tmp_path / "back", "raw", 8 * MIB) as back,
    ):
        finish(convert(first, copy))
        finish(convert(copy, back))
        taken = os.fstat(back.fd).st_blocks * 512
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert taken < 2 * MIB


@pytest.mark.parametrize(("format_", "make"), [("luks", a_luks), ("qcow2", an_encrypted_qcow2)])
def test_an_encrypted_copy_reads_the_same_and_shows_nothing(
    tmp_path: Path, source: Path, format_: str, make: Callable[[Path], Path]
) -> None:
    make(tmp_path / "copy")
    a_raw(tmp_path / "back", 8 * MIB)
    with (
        opened(source, "raw", 8 * MIB) as first,
        opened(tmp_path / "copy", format_, 8 * MIB, secret=SECRET) as copy,
        opened(tmp_path / "back", "raw", 8 * MIB) as back,
    ):
        finish(convert(first, copy))
        finish(convert(copy, back))
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert b"\1" * 512 not in (tmp_path / "copy").read_bytes()


def test_a_copy_leaves_allocated_what_was_allocated(tmp_path: Path, source: Path) -> None:
    an_encrypted_qcow2(tmp_path / "copy")
    with (
        opened(source, "raw", 8 * MIB) as first,
        opened(tmp_path / "copy", "qcow2", 8 * MIB, secret=SECRET) as copy,
    ):
        os.posix_fallocate(copy.fd, 0, os.fstat(copy.fd).st_size)
        before = os.fstat(copy.fd).st_blocks
        finish(convert(first, copy))
        assert os.fstat(copy.fd).st_blocks >= before


def test_a_wrong_secret_is_told_with_the_name_of_the_image(tmp_path: Path, source: Path) -> None:
    a_luks(tmp_path / "copy")
    with (
        opened(source, "raw", 8 * MIB) as first,
        opened(tmp_path / "copy", "luks", 8 * MIB, secret=b"wrong") as copy,
        pytest.raises(VolumeUnreadable, match=r"secret is not the one.*'copy': Invalid pass"),
    ):
        finish(convert(first, copy))


def test_a_chain_is_copied_as_the_guest_sees_it(tmp_path: Path, source: Path) -> None:
    top = tmp_path / "top"
    qemu_img("create", "-q", "-f", "qcow2", "-b", source, "-F", "raw", top)
    qemu_io(top, "qcow2", "write -P 3 1M 64k", "write -z 0 64k")
    a_raw(tmp_path / "copy", 8 * MIB)
    with (
        opened(source, "raw", 8 * MIB) as below,
        opened(top, "qcow2", 8 * MIB, backing=below) as overlay,
        opened(tmp_path / "copy", "raw", 8 * MIB) as copy,
    ):
        finish(convert(overlay, copy))
    expected = bytearray(source.read_bytes())
    expected[MIB : MIB + 65536] = b"\3" * 65536
    expected[:65536] = bytes(65536)
    assert (tmp_path / "copy").read_bytes() == expected


def test_zeros_in_the_source_hide_what_is_below_the_target(tmp_path: Path, source: Path) -> None:
    a_raw(tmp_path / "base", 8 * MIB, (0, 8 * MIB, 9))
    top = tmp_path / "top"
    qemu_img("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", top)
    with (
        opened(tmp_path / "base", "raw", 8 * MIB) as base,
        opened(source, "raw", 8 * MIB) as first,
        opened(top, "qcow2", 8 * MIB, backing=base) as overlay,
    ):
        finish(convert(first, overlay))
    qemu_img("compare", source, top)


@pytest.mark.parametrize("capacity", [1, 511, 513, 65537])
def test_a_raw_copy_keeps_a_size_that_ends_within_a_sector(tmp_path: Path, capacity: int) -> None:
    sectors = -(-capacity // 512) * 512
    a_raw(tmp_path / "source", capacity, (0, capacity, 1))
    qemu_img("create", "-q", "-f", "qcow2", tmp_path / "copy", sectors)
    a_raw(tmp_path / "back", capacity)
    with (
        opened(tmp_path / "source", "raw", capacity) as first,
        opened(tmp_path / "copy", "qcow2", sectors) as copy,
    ):
        finish(convert(first, copy))
    a_raw(tmp_path / "back", sectors)
    with (
        opened(tmp_path / "copy", "qcow2", sectors) as copy,
        opened(tmp_path / "back", "raw", sectors) as back,
    ):
        finish(convert(copy, back))
    expected = (b"\1" * capacity).ljust(sectors, b"\0")
    assert (tmp_path / "back").read_bytes() == expected


def test_a_larger_target_ends_in_zeros(tmp_path: Path, source: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", tmp_path / "copy", 64 * MIB)
    with (
        opened(source, "raw", 8 * MIB) as first,
        opened(tmp_path / "copy", "qcow2", 64 * MIB) as copy,
    ):
        finish(convert(first, copy))
    assert described(tmp_path / "copy")["virtual-size"] == 64 * MIB
    qemu_io(tmp_path / "copy", "qcow2", "read -P 1 0 1M", "read -P 0 8M 56M")


@contextmanager
def a_long_copy(tmp_path: Path) -> Iterator[tuple[OpenImage, OpenImage]]:
    """Give a source of a gibibyte, and a target."""
    path = tmp_path / "long"
    a_raw(path, 1 << 30, *((offset << 20, MIB, 1) for offset in range(0, 1024, 8)))
    qemu_img("create", "-q", "-f", "qcow2", tmp_path / "target", 1 << 30)
    with (
        opened(path, "raw", 1 << 30) as first,
        opened(tmp_path / "target", "qcow2", 1 << 30) as copy,
    ):
        yield first, copy


def test_progress_is_told_in_bytes_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volary.engine.formats.process.SLICE", 0.005)
    with a_long_copy(tmp_path) as (first, copy):
        steps = [step for step in convert(first, copy) if isinstance(step, Done)]
    assert {step.total for step in steps} == {1 << 30}
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert len(set(done)) > 4
    taken = [step.taken for step in steps]
    assert 0 < max(taken) < 150 * MIB


def test_a_cancelled_copy_leaves_no_program_and_its_source_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volary.engine.formats.process.SLICE", 0.005)
    before = psutil.Process().children()
    with a_long_copy(tmp_path) as (first, copy):
        work = convert(first, copy)
        next(work)
        began = monotonic()
        work.close()
        assert monotonic() - began < 0.5  # some 2 ms on a machine with nothing else to do
        assert psutil.Process().children() == before
        # Nobody holds a lock, so that it can be copied now.
        finish(convert(first, copy))


def test_two_copies_may_read_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("volary.engine.formats.process.SLICE", 0.005)
    with a_long_copy(tmp_path) as (first, copy):
        slow = convert(first, copy)
        next(slow)
        a_raw(tmp_path / "other", 1 << 30)
        with opened(tmp_path / "other", "raw", 1 << 30) as other:
            finish(convert(first, other))
        slow.close()


def test_an_image_that_another_program_writes_to_is_busy(tmp_path: Path, source: Path) -> None:
    a_raw(tmp_path / "copy", 8 * MIB)
    writer = subprocess.Popen(
        ["qemu-io", "-f", "raw", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write("length\n")
        writer.stdin.flush()
        while "8 MiB" not in writer.stdout.readline():  # it has the image open
            pass
        with (
            opened(source, "raw", 8 * MIB) as first,
            opened(tmp_path / "copy", "raw", 8 * MIB) as copy,
            pytest.raises(VolumeBusy, match=r"another process using the image \[source\]"),
        ):
            finish(convert(first, copy))
        writer.stdin.close()


def test_a_full_file_system_is_told_as_the_system_tells_it(source: Path, tmp_path: Path) -> None:
    # A file size limit stands in for it, as both come from write(2): here EFBIG.
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.engine.formats.test_qemu_convert import convert, finish, opened\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"with opened(Path({str(source)!r}), 'raw', 8 << 20) as first, \\\n"
        f"        opened(Path({str(tmp_path / 'copy')!r}), 'raw', 8 << 20) as copy:\n"
        "    try: finish(convert(first, copy))\n"
        "    except OSError as error: print(error.errno)\n"
    )
    a_raw(tmp_path / "copy", 8 * MIB)
    root = Path(__file__).parents[3]
    answer = subprocess.run(
        [sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, check=True
    )
    assert answer.stdout.split() == [b"%d" % errno.EFBIG]


def test_a_header_that_asks_for_too_much_memory_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    qemu_img("create", "-q", "-f", "vdi", path, 1 << 30)
    with path.open("r+b") as file:  # half a pebibyte, whose block map takes 2 GiB
        file.seek(0x170)
        file.write((0x1FFFFF8000000).to_bytes(8, "little"))
        file.seek(0x180)
        file.write((0x1FFFFF80).to_bytes(4, "little"))
        file.truncate(4 << 30)
    a_raw(tmp_path / "copy", MIB)
    with (
        opened(path, "vdi", 1 << 30) as bomb,
        opened(tmp_path / "copy", "raw", MIB) as copy,
        pytest.raises(ToolFailed, match=r"'bomb'.*Cannot allocate memory; it may take 1152 MiB"),
    ):
        finish(convert(bomb, copy))


@pytest.fixture(scope="module")
def scattered(tmp_path_factory: pytest.TempPathFactory, need_tool: NeedTool) -> Path:
    """A raw image of 1 GiB with a block of data in each second MiB, and some MiB in one piece."""
    need_tool("qemu-img", "qemu-utils")
    runs = ((offset * MIB, 4096, 5) for offset in range(64, 1024, 2))
    path = tmp_path_factory.mktemp("scattered") / "source"
    return a_raw(path, 1024 * MIB, (0, 16 * MIB, 3), *runs)


def made(fd: int, spec: VolumeSpec) -> Operation[object]:
    """Make an empty file the image that `spec` asks for."""
    if spec.format == "raw":
        size = spec.capacity or 0
        return raw.create(fd, capacity=size, allocation=spec.allocation, preallocation="falloc")
    if spec.format == "qcow2" and spec.encryption is None:
        return qcow2.create(fd, spec)
    return qemu_create.create(fd, spec)


@pytest.mark.parametrize(
    "options",
    [
        {"format": "raw"},
        {"format": "raw", "allocation": 32 * MIB},
        *({"format": format_} for format_ in ("qcow2", "qed", "vmdk", "vdi", "vpc")),
        {"format": "qcow2", "compat": "0.10", "cluster_size": 2 * MIB},
        {"format": "qcow2", "cluster_size": 512},
        {"format": "qcow2", "cluster_size": 16384, "extended_l2": True},
        {"format": "qcow2", "preallocation": "metadata", "cluster_size": 4096},
        {"format": "qcow2", "preallocation": "falloc"},
        {"format": "qed", "cluster_size": 4096},
        {"format": "qcow2", "encryption": Encryption(SECRET)},
    ],
    ids=lambda options: (
        "-".join(map(str, options.values())) if "encryption" not in options else "encrypted"
    ),
)
def test_a_copy_takes_what_was_measured_at_the_most_and_not_much_less(
    tmp_path: Path, scattered: Path, options: dict[str, Any]
) -> None:
    spec = VolumeSpec("copy", capacity=1536 * MIB, **options)
    with (
        opened(scattered, "raw", 1024 * MIB) as first,
        opened(tmp_path / "copy", spec.format, 1536 * MIB) as file,
    ):
        measured = finish(measure(first, spec))
        finish(made(file.fd, spec))
        secret = spec.encryption.secret if spec.encryption is not None else None
        copy = OpenImage(file.fd, spec.format, 1536 * MIB, secret=secret)
        finish(convert(first, copy))
        taken = os.fstat(copy.fd).st_blocks * 512
    # What a unit of allocation holds beside its data is a hole, or is not.
    unit = {"vdi": MIB, "vpc": 2 * MIB}.get(spec.format, spec.cluster_size or 65536)
    slack = 481 * max(unit, 4096) + spec.allocation + 4 * MIB
    if unit == 512:  # as if each cluster had a table of its own
        slack += taken
    assert taken <= measured <= taken + slack


def test_a_copy_as_luks_takes_all_of_its_capacity(tmp_path: Path) -> None:
    spec = VolumeSpec("copy", capacity=8 * MIB, format="luks", encryption=Encryption(SECRET))
    with (
        opened(a_raw(tmp_path / "source", 7 * MIB), "raw", 7 * MIB) as first,
        opened(a_luks(tmp_path / "copy"), "luks", 8 * MIB, secret=SECRET) as copy,
    ):
        measured = finish(measure(first, spec))
        finish(convert(first, copy))
        assert 7 * MIB < os.fstat(copy.fd).st_blocks * 512 <= measured < 11 * MIB


def test_a_measured_copy_counts_what_its_chain_holds(tmp_path: Path, source: Path) -> None:
    top = tmp_path / "top"
    qemu_img("create", "-q", "-f", "qcow2", "-b", source, "-F", "raw", top)
    qemu_io(top, "qcow2", "write 3M 1M", "write -z 0 512k")
    with (
        opened(source, "raw", 8 * MIB) as below,
        opened(top, "qcow2", 8 * MIB, backing=below) as overlay,
    ):
        measured = finish(measure(overlay, VolumeSpec("copy")))
    # Of its own 1 MiB, below half a MiB, one MiB of zeros on disk, and one cluster.
    assert 2.5 * MIB + 65536 <= measured < 2.75 * MIB


def test_compressed_clusters_are_measured_as_they_are_written(tmp_path: Path) -> None:
    a_raw(tmp_path / "source", 64 * MIB, (0, 32 * MIB, 7))
    packed = tmp_path / "packed"
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", tmp_path / "source", packed)
    a_raw(tmp_path / "copy", 64 * MIB)
    with (
        opened(packed, "qcow2", 64 * MIB) as first,
        opened(tmp_path / "copy", "raw", 64 * MIB) as copy,
    ):
        assert os.fstat(first.fd).st_blocks * 512 < MIB
        measured = finish(measure(first, VolumeSpec("copy")))
        finish(convert(first, copy))
        assert 32 * MIB <= os.fstat(copy.fd).st_blocks * 512 <= measured < 33 * MIB


def test_a_source_larger_than_a_qcow2_of_such_clusters_is_measured(tmp_path: Path) -> None:
    capacity = 3 << 50  # and 64 KiB each reach 2 PiB
    options = ("-f", "qcow2", "-o", "cluster_size=2M")
    qemu_img("create", "-q", *options, tmp_path / "source", capacity)
    with opened(tmp_path / "source", "qcow2", capacity) as first:
        assert finish(measure(first, VolumeSpec("copy"))) < MIB


def a_bomb(path: Path, capacity: int, *, cluster: int = 65536) -> Path:
    """Make a small qcow2 each of whose clusters is the same one."""
    entries = cluster // 8
    tables = capacity // (entries * cluster)
    content = bytearray(5 * cluster)  # header, reference counts' table and block, L2 table, data
    fields = (cluster.bit_length() - 1, capacity, 0, tables, 5 * cluster, cluster, 1, 0, 0)
    struct.pack_into(">4sIQIIQIIQQIIQ", content, 0, b"QFI\xfb", 3, 0, 0, *fields)
    struct.pack_into(">QQQII", content, 72, 0, 0, 0, 4, 104)
    struct.pack_into(">Q", content, cluster, 2 * cluster)
    content[3 * cluster : 4 * cluster] = struct.pack(">Q", 4 * cluster) * entries
    content[4 * cluster :] = b"\xaa" * cluster
    path.write_bytes(content + struct.pack(">Q", 3 * cluster) * tables)
    return path


def test_one_cluster_for_all_is_measured_as_often_as_it_is_written(tmp_path: Path) -> None:
    path = a_bomb(tmp_path / "bomb", 1 << 40)
    assert path.stat().st_size < 400 << 10
    with opened(path, "qcow2", 1 << 40) as bomb:
        measured = finish(measure(bomb, VolumeSpec("copy", format="vdi")))  # the fastest: 0.3 s
    assert 1 << 40 <= measured < (1 << 40) + (1 << 30)


def test_a_small_file_with_a_large_capacity_gets_the_time_of_a_small_one(tmp_path: Path) -> None:
    path = a_bomb(tmp_path / "bomb", 1 << 40)
    data = a_raw(tmp_path / "data", 1 << 40, (0, 16 * MIB, 1))
    with opened(path, "qcow2", 1 << 40) as bomb, opened(data, "raw", 1 << 40) as large:
        assert workload(bomb) == 1 << 30
        assert limits_for(workload(bomb), bomb).cpu == 150
        # 4 GiB could be compressed into so much: also in a chain.
        top = OpenImage(bomb.fd, "qcow2", 1 << 40, backing=large)
        assert 4 << 30 <= workload(large) < workload(top) < 5 << 30


def test_measuring_ends_when_it_takes_longer_than_the_file_lets_believe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("volary.engine.formats.qemu_img._CPU_SECONDS", 1)
    monkeypatch.setattr("volary.engine.formats.qemu_img._CPU_SECONDS_A_GIB", 0)
    path = a_bomb(tmp_path / "bomb", 1 << 40, cluster=16384)
    with (
        opened(path, "qcow2", 1 << 40) as bomb,
        pytest.raises(ToolFailed, match="stopped after 1 seconds of CPU time; is its input sound"),
    ):
        finish(measure(bomb, VolumeSpec("copy", format="raw")))
