from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.formats.header_lies import BY_NAME, LIES, Lie, luks2_samples
from tests.engine.formats.image_corpus import SAMPLES, Sample, probe_of

from volary.engine.formats.probe import BOUND, HEAD, Probe, TooFar
from volary.engine.formats.recognise import FORMATS, recognise
from volary.engine.image_info import BackingFile, ImageInfo

SPECIAL = [sample for sample in SAMPLES if sample.info.format != "raw"]


def named(sample: Sample) -> str:
    return sample.name


def told(lie: Lie) -> str:
    return f"{lie.sample}-{lie.says.replace(' ', '-')}"


def believable(info: ImageInfo) -> bool:
    """Say whether it is an answer that a pool can list, whatever the image."""
    names = [info.data_file, info.backing.name if info.backing else None]
    return (
        info.format in FORMATS
        and 0 <= info.capacity < 2**63
        and (info.cluster_size is None or 0 < info.cluster_size < 2**63)
        and all(name is None or (name and "\0" not in name) for name in names)
        and (info.problem is None or info.problem.isprintable())
    )


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_an_image_is_recognised(sample: Sample) -> None:
    with sample.probe() as probe:
        assert recognise(probe) == sample.info


@pytest.mark.parametrize("sample", SPECIAL, ids=named)
def test_an_image_is_read_as_what_it_is_said_to_be(sample: Sample) -> None:
    with sample.probe() as probe:
        assert recognise(probe, format=sample.info.format) == sample.info


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_an_image_that_is_said_to_be_raw_is_raw(sample: Sample) -> None:
    with sample.probe() as probe:
        assert recognise(probe, format="raw") == ImageInfo("raw", probe.size)


@pytest.mark.parametrize("said", sorted(FORMATS - {"raw"}))
def test_zeros_that_are_said_to_be_something_are_a_problem(said: str) -> None:
    with BY_NAME["zeros"].probe() as probe:
        info = recognise(probe, format=said)
    assert (info.format, info.capacity) == (said, 0)
    assert info.problem


def test_a_format_that_is_not_known_is_a_problem() -> None:
    with BY_NAME["zeros"].probe() as probe:
        info = recognise(probe, format="vvfat")
    assert info == ImageInfo("vvfat", 0, problem="the format 'vvfat' is not known")


def test_the_name_that_qemu_has_for_ploop_is_known() -> None:
    with BY_NAME["ploop"].probe() as probe:
        assert recognise(probe, format="parallels") == BY_NAME["ploop"].info


def test_a_fixed_vpc_is_one_when_somebody_says_so() -> None:
    with BY_NAME["vpc-fixed"].probe() as probe:
        assert recognise(probe, format="vpc") == ImageInfo("vpc", 68 * 4 * 17 * 512)


def test_a_dmg_is_only_recognised_by_its_name() -> None:
    sample = BY_NAME["image.dmg"]
    with probe_of(sample.data, name="image.raw") as probe:
        assert recognise(probe) == ImageInfo("raw", len(sample.data))
        assert recognise(probe, format="dmg") == sample.info


def test_a_vpc_of_another_maker_has_the_size_that_it_says() -> None:
    changed = Lie("vpc", 28, b"vbox", "").data
    with probe_of(Lie("vpc", 48, (4 << 20).to_bytes(8), "").data) as probe:
        assert recognise(probe).capacity == 68 * 4 * 17 * 512
    with probe_of(changed[:48] + (1 << 20).to_bytes(8) + changed[56:]) as probe:
        assert recognise(probe).capacity == 1 << 20


@pytest.mark.parametrize("sample", SPECIAL, ids=named)
def test_one_look_is_enough_for_what_is_common(sample: Sample) -> None:
    with sample.probe() as probe:
        recognise(probe)
        far = sample.info.format in ("vhdx", "dmg") or sample.size > HEAD
        assert probe.taken <= HEAD or far


@pytest.mark.parametrize("lie", LIES, ids=told)
def test_a_lie_is_told_as_a_problem(lie: Lie) -> None:
    with probe_of(lie.data, name=lie.sample) as probe:
        info = recognise(probe)
        assert recognise(probe, format=lie.format) == info
    assert info.format == lie.format
    assert believable(info)
    assert info.problem is not None
    assert lie.says in info.problem


@pytest.mark.parametrize("sample", luks2_samples(), ids=named)
def test_a_luks2_of_no_sensible_json_is_a_problem(sample: Sample) -> None:
    with sample.probe() as probe:
        info = recognise(probe)
    assert (info.format, info.capacity) == ("luks", 0)
    assert info.problem


def test_what_can_be_read_of_an_image_with_a_problem_is_told() -> None:
    with probe_of(Lie("qcow2-v3-backing", 72, b"\0" * 7 + b"\2", "").data) as probe:
        info = recognise(probe)
    assert info.problem
    assert info.capacity == 1 << 20
    assert info.backing == BackingFile("dir/\udcff.qcow2", "qcow2")


@pytest.mark.parametrize("sample", SPECIAL, ids=named)
def test_a_truncated_image_is_never_more_than_a_problem(sample: Sample) -> None:
    data = sample.data
    near = {*range(128), *range(len(data) - 4, len(data)), *(1 << bits for bits in range(19))}
    steps = {length for length in range(0, len(data), 509) if length < 4096}
    for length in sorted(near | steps):
        for said in (None, sample.info.format):
            with probe_of(data[:length], name=sample.name) as probe:
                assert believable(recognise(probe, format=said))


@pytest.mark.parametrize("kind", ["qcow2", "vhdx", "vmdk", "luks", "vpc"])
def test_a_header_in_a_sea_of_bytes_is_read_within_bounds(kind: str) -> None:
    sea = {
        "qcow2": BY_NAME["qcow2-v3"].data[:112] + b"\x11" * (4 << 20),
        "vhdx": BY_NAME["vhdx"].data[: (192 << 10) + 8] + b"\x03\x07\0\0" * (1 << 20),
        "vmdk": BY_NAME["vmdk-text"].data + b'RW 1 FLAT "x" 0\n' * (1 << 18),
        "luks": BY_NAME["luks2"].data[:4096] + b" " * (4 << 20),
        "vpc": BY_NAME["vpc"].data[:1536] + b"\xff" * (4 << 20),
    }[kind]
    with probe_of(sea) as probe:
        assert believable(recognise(probe))
        assert probe.taken <= BOUND


def test_a_description_of_more_than_the_bound_is_a_problem() -> None:
    with probe_of(BY_NAME["vmdk-text"].data, BOUND + 1) as probe:
        assert "more than 256 KiB" in str(recognise(probe).problem)


@pytest.mark.parametrize("line", [b"\n", b" ", b"#\n", b"RW ", b'createType="', b'"'])
def test_a_description_of_one_thing_again_and_again_is_read_at_once(line: bytes) -> None:
    data = BY_NAME["vmdk-text"].data + line * ((BOUND - HEAD - 1000) // len(line))
    with probe_of(data) as probe:
        assert believable(recognise(probe))


# What tells the format lies within the first 68 bytes, or is an identifier far behind.
STARTS = [4, 8, 24, 68, 96, 512, 4096, 192 << 10, 256 << 10]
WORDS = [b"\0", b"\xff", b"\xff" * 4, b"\xff" * 8, b"\0" * 8, b"\x80", b"\0\0\0\1"]


@given(
    sample=st.sampled_from(SPECIAL),
    start=st.sampled_from(STARTS),
    noise=st.binary(max_size=1024),
    size=st.sampled_from([0, 512, 1 << 20, 1 << 40, (1 << 62) + 1]),
    said=st.booleans(),
)
def test_bytes_behind_a_magic_never_raise(
    sample: Sample, start: int, noise: bytes, size: int, said: bool
) -> None:
    content = sample.data[:start] + noise + sample.data[start + len(noise) :]
    with probe_of(content, max(size, len(content)), sample.name) as probe:
        assert believable(recognise(probe, format=sample.info.format if said else None))
        assert probe.taken <= BOUND


@given(
    sample=st.sampled_from(SPECIAL),
    changes=st.lists(st.tuples(st.integers(0, 1023), st.sampled_from(WORDS)), max_size=8),
)
def test_changed_fields_never_raise(sample: Sample, changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(sample.data)
    for offset, word in changes:
        offset %= len(content)  # noqa: PLW2901
        content[offset : offset + len(word)] = word
    with probe_of(bytes(content), name=sample.name) as probe:
        assert believable(recognise(probe, format=sample.info.format))
        assert probe.taken <= BOUND


def test_no_more_than_the_bound_can_be_read() -> None:
    with probe_of(b"", 1 << 30) as probe:
        assert len(probe.read(HEAD, BOUND - HEAD)) == BOUND - HEAD
        assert probe.read(0, HEAD) == bytes(HEAD)
        with pytest.raises(TooFar):
            probe.read(1 << 20, 1)


def test_reading_behind_the_end_gives_what_there_is() -> None:
    with probe_of(b"abc") as probe:
        assert (probe.read(1, 10), probe.read(3, 1), probe.read(1 << 64, 1)) == (b"bc", b"", b"")


def test_what_the_system_refuses_passes_through(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError):
            Probe(fd, 4096)
    finally:
        os.close(fd)
