from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.qcow2_grid import Case, cases, make_bases, pairwise, refused, tool, verify

from volary.engine.encryption import Encryption
from volary.engine.errors import InvalidSpec
from volary.engine.formats import qcow2
from volary.engine.formats.probe import Probe
from volary.engine.formats.recognise import recognise
from volary.engine.progress import Done
from volary.engine.volume_spec import VolumeSpec

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@pytest.fixture(autouse=True)
def qemu(need_tool: Callable[[str, str], str]) -> None:
    need_tool("qemu-img", "qemu-utils")
    need_tool("qemu-io", "qemu-utils")


@pytest.fixture(scope="module")
def with_bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("qcow2")
    make_bases(directory)
    return directory


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image"


@pytest.fixture
def fd(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def spec(capacity: int, **options: Any) -> VolumeSpec:
    return VolumeSpec("a", capacity=capacity, format="qcow2", **options)


def steps_of(fd: int, wanted: VolumeSpec) -> list[Done]:
    return [step for step in qcow2.create(fd, wanted) if isinstance(step, Done)]


@pytest.mark.parametrize("case", pairwise(), ids=lambda case: case.name)
def test_qemu_checks_describes_reads_and_writes_it(with_bases: Path, case: Case) -> None:
    verify(with_bases, case)


def test_every_combination_that_is_impossible_is_refused() -> None:
    impossible = [case for case in cases() if not case.is_possible]
    assert len(impossible) > 1000
    assert [case for case in impossible if not refused(case)] == []


@pytest.mark.parametrize(
    "options",
    [
        {"cluster_size": 256},
        {"cluster_size": 3000},
        {"cluster_size": 4 * MIB},
        {"compat": "0.10", "lazy_refcounts": True},
        {"compat": "0.10", "extended_l2": True},
        {"cluster_size": 8 * KIB, "extended_l2": True},
        {"capacity": 128 * GIB + 1, "cluster_size": 512},
        {"capacity": (1 << 61) + 1, "cluster_size": 2 * MIB},
        {"capacity": (1 << 60) + 1, "cluster_size": 2 * MIB, "extended_l2": True},
        {"capacity": (1 << 63) - 2 * MIB, "cluster_size": 2 * MIB},
        {"backing": "base.raw", "backing_format": "raw", "preallocation": "metadata"},
        {"backing": "base.raw", "backing_format": "raw", "preallocation": "falloc"},
        {"backing": "base.raw", "backing_format": "raw", "preallocation": "full"},
    ],
)
def test_what_is_refused_qemu_img_refuses_as_well(
    with_bases: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidSpec):
        spec(**({"capacity": MIB} | options))
    words = {"size": MIB, **options}
    for ours, theirs in [
        ("capacity", "size"),
        ("backing", "backing_file"),
        ("backing_format", "backing_fmt"),
    ]:
        if ours in words:
            words[theirs] = words.pop(ours)
    text = ",".join(f"{key}={value}" for key, value in words.items()).replace("True", "on")
    done = subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", text, with_bases / "refused"],
        check=False,
        capture_output=True,
    )
    assert done.returncode == 1


def test_what_its_tables_cannot_count_is_refused_and_nothing_written(fd: int) -> None:
    wanted = spec(128 * GIB, cluster_size=512, preallocation="falloc")
    reason = "tables of a qcow2 with clusters of 512 bytes reach no further than 137438953472"
    with pytest.raises(InvalidSpec, match=reason):
        qcow2.measure(wanted)
    with pytest.raises(InvalidSpec, match=reason):
        steps_of(fd, wanted)
    assert os.fstat(fd).st_size == 0


def test_an_image_of_no_known_capacity_is_refused(fd: int) -> None:
    with pytest.raises(InvalidSpec, match="volume 'a': no capacity"):
        steps_of(fd, VolumeSpec("a", format="qcow2", backing="base.raw"))


def test_an_encrypted_image_is_not_made_in_the_clear(fd: int) -> None:
    with pytest.raises(InvalidSpec, match="volume 'a': encrypted"):
        steps_of(fd, spec(MIB, encryption=Encryption("secret")))
    assert os.fstat(fd).st_size == 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"capacity": 0},
        {"capacity": MIB + 1, "preallocation": "metadata"},
        {"compat": "0.10", "cluster_size": 512},
        {"lazy_refcounts": True, "cluster_size": 2 * MIB},
        {"extended_l2": True, "backing": "base.raw", "backing_format": "raw"},
        {"backing": "json:{}"},
    ],
)
def test_it_is_described_as_its_header_says(fd: int, options: dict[str, Any]) -> None:
    wanted = spec(**({"capacity": MIB} | options))
    steps_of(fd, wanted)
    assert qcow2.describe(wanted) == recognise(Probe(fd, os.fstat(fd).st_size))


@pytest.mark.parametrize("way", ["metadata", "falloc", "full"])
def test_progress_never_goes_back_and_takes_no_more_than_measured(fd: int, way: str) -> None:
    wanted = spec(20 * MIB + 1, preallocation=way)
    steps = steps_of(fd, wanted)
    for figures in ([step.done for step in steps], [step.taken for step in steps]):
        assert figures == sorted(figures)
    assert steps[-1].done == steps[-1].total == steps[-1].taken <= qcow2.measure(wanted)


def test_space_is_taken_before_zeros_are_written(fd: int) -> None:
    steps = steps_of(fd, spec(64 * MIB, preallocation="full"))
    half = next(step for step in steps if step.done > 32 * MIB)
    assert half.taken == half.total


@pytest.mark.parametrize("way", ["falloc", "full"])
def test_a_preallocated_image_is_all_on_disk(fd: int, way: str) -> None:
    steps_of(fd, spec(20 * MIB, preallocation=way))
    assert os.fstat(fd).st_blocks * 512 >= 20 * MIB


def test_a_full_image_is_really_written(fd: int) -> None:
    steps_of(fd, spec(20 * MIB, cluster_size=512, preallocation="full"))
    # Reserved extents that nobody wrote are holes to SEEK_HOLE (lseek(2)).
    assert os.lseek(fd, 0, os.SEEK_HOLE) == os.fstat(fd).st_size


def test_large_tables_are_written_in_small_steps(fd: int) -> None:
    steps = steps_of(fd, spec(256 * GIB, preallocation="metadata"))
    done = [0, *(step.done for step in steps)]
    assert max(after - before for before, after in itertools.pairwise(done)) == MIB


def test_a_sparse_image_is_made_in_one_step_and_takes_three_blocks(fd: int) -> None:
    wanted = spec(1 << 40)
    assert steps_of(fd, wanted) == []
    assert os.fstat(fd).st_blocks * 512 == qcow2.measure(wanted) == 3 * 4096


@pytest.mark.parametrize("capacity", [0, 1, 5 * MIB + 1, GIB])
@pytest.mark.parametrize("cluster_size", [512, 4096, 64 * KIB, 2 * MIB])
def test_a_falloc_image_is_as_large_as_qemu_img_measures(
    fd: int, capacity: int, cluster_size: int
) -> None:
    steps_of(fd, spec(capacity, cluster_size=cluster_size, preallocation="metadata"))
    told = tool(
        *("qemu-img", "measure", "--output=json", "-O", "qcow2", "--size", capacity),
        *("-o", f"cluster_size={cluster_size}"),
    )
    assert os.fstat(fd).st_size == json.loads(told)["fully-allocated"]


@pytest.mark.parametrize(
    ("options", "longest"),
    [
        ({"cluster_size": 512}, 376),
        ({"cluster_size": 512, "compat": "0.10"}, 416),
        ({"cluster_size": 1024}, 888),
        ({}, 1023),
    ],
)
def test_the_longest_name_of_a_backing_file_is_found_again(
    fd: int, path: Path, options: dict[str, Any], longest: int
) -> None:
    name = "n" * longest
    steps_of(fd, spec(MIB, backing=name, backing_format="raw", **options))
    info = json.loads(tool("qemu-img", "info", "-U", "--output=json", "-f", "qcow2", path))
    assert info["backing-filename"] == name
    assert info["backing-filename-format"] == "raw"
    with pytest.raises(InvalidSpec, match=f"{longest + 1} bytes, and the header has room for"):
        spec(MIB, backing=name + "n", backing_format="raw", **options)


def test_a_program_that_knows_no_subclusters_can_say_what_it_misses(fd: int) -> None:
    steps_of(fd, spec(MIB, extended_l2=True))
    assert b"\x00\x04extended L2 entries\x00" in os.pread(fd, 4096, 0)
