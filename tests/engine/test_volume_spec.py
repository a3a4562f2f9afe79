from __future__ import annotations

from pathlib import PurePath
from typing import Any, cast

import pytest

from volary.engine.encryption import Encryption
from volary.engine.errors import ConflictingValues, ErrorCode, InvalidSpec
from volary.engine.image_info import BackingFile
from volary.engine.volume_spec import VolumeSpec

MIB = 1024**2
GIB = 1024**3

SECRET = Encryption("secret")


@pytest.mark.parametrize(
    ("options", "preallocation", "allocation"),
    [
        ({}, "off", 0),
        ({"allocation": 0}, "off", 0),
        ({"allocation": "1 GiB"}, "falloc", GIB),
        ({"allocation": "8 GiB"}, "falloc", 8 * GIB),
        ({"preallocation": "off"}, "off", 0),
        ({"preallocation": "falloc"}, "falloc", 8 * GIB),
        ({"preallocation": "full"}, "full", 8 * GIB),
        ({"preallocation": "full", "allocation": "1 GiB"}, "full", GIB),
        ({"preallocation": "full", "allocation": 0}, "off", 0),
    ],
)
def test_allocation_and_preallocation_complete_each_other(
    options: dict[str, Any], preallocation: str, allocation: int
) -> None:
    spec = VolumeSpec("a", capacity="8 GiB", **options)
    assert (spec.preallocation, spec.allocation) == (preallocation, allocation)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"capacity": 0}, "capacity is 0"),
        ({"capacity": -5}, "capacity: -5 is negative"),
        ({"capacity": 2**63}, "capacity: .* above the largest"),
        ({"capacity": "8 GiBB"}, "capacity: '8 GiBB' has the unknown unit"),
        ({"capacity": 1, "allocation": 2}, "allocation, 2 bytes, is above the capacity"),
        ({"capacity": 1, "format": "qcow9"}, "unknown format 'qcow9'; known: raw"),
        ({"capacity": 1, "nocow": 1}, "nocow 1 is neither True nor False"),
        ({"capacity": 1, "preallocation": "some"}, "unknown preallocation 'some'"),
        (
            {"capacity": 1, "preallocation": "off", "allocation": 1},
            "preallocation 'off' leaves nothing",
        ),
        ({"capacity": 1, "mode": "9"}, "mode: '9' is not octal"),
        ({"capacity": 1, "mode": 0o10000}, "mode: 4096 is not within"),
        ({"capacity": 1, "owner": -1}, "owner: -1 is no numeric id"),
        ({"capacity": 1, "group": "wheel"}, "group: 'wheel' is no numeric id"),
    ],
)
def test_what_cannot_be_meant_is_refused_naming_the_volume(
    options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidSpec, match=f"volume 'a': {reason}"):
        VolumeSpec("a", **options)


def test_a_mode_may_be_octal_digits() -> None:
    assert VolumeSpec("a", capacity=1, mode="0640").mode == 0o640


def test_a_spec_does_not_change() -> None:
    spec = VolumeSpec("a", capacity=1)
    with pytest.raises(AttributeError):
        spec.capacity = 2  # type: ignore[misc]  # that is what is tested


@pytest.mark.parametrize(
    ("format_", "options", "reason"),
    [
        ("raw", {"compat": "1.1"}, "compat is an option of qcow2, and the format is raw"),
        ("qed", {"lazy_refcounts": True}, "lazy_refcounts is an option of qcow2"),
        ("vmdk", {"extended_l2": False}, "extended_l2 is an option of qcow2"),
        ("vdi", {"cluster_size": 65536}, "cluster_size is an option of qcow2 and qed"),
        ("raw", {"preallocation": "metadata"}, "preallocation of metadata is qcow2's"),
        ("luks", {"preallocation": "metadata", "encryption": SECRET}, "preallocation of metadata"),
        ("qed", {"preallocation": "falloc"}, "a qed volume begins with nothing allocated"),
        ("vpc", {"allocation": MIB}, "a vpc volume begins with nothing allocated"),
        ("qcow2", {"compat": "1.0"}, "unknown compat '1.0'; known: 0.10, 1.1"),
        ("qcow2", {"compat": "0.10", "lazy_refcounts": True}, "lazy_refcounts needs compat '1.1'"),
        ("qcow2", {"compat": "0.10", "extended_l2": True}, "extended_l2 needs compat '1.1'"),
        ("qcow2", {"extended_l2": "on"}, "extended_l2 'on' is neither True nor False"),
        ("qcow2", {"cluster_size": 256}, "cluster size, 256 bytes, is no power of two from 512"),
        ("qcow2", {"cluster_size": "96 KiB"}, "cluster size, 98304 bytes, is no power of two"),
        ("qcow2", {"cluster_size": "4M"}, "cluster size, 4194304 bytes, .* to 2097152"),
        ("qcow2", {"cluster_size": 0}, "cluster size, 0 bytes, is no power of two"),
        ("qed", {"cluster_size": 2048}, "cluster size, 2048 bytes, .* from 4096 .* as qed needs"),
        ("qcow2", {"cluster_size": "8K", "extended_l2": True}, "extended_l2 needs clusters of at"),
        ("qcow2", {"allocation": 512}, "allocation, 512 bytes, is a part of the capacity"),
        ("luks", {"allocation": 512, "encryption": SECRET}, "allocation, 512 bytes, is a part"),
        ("qcow2", {"preallocation": "metadata", "allocation": 1}, "preallocation 'metadata' leav"),
        ("luks", {}, "a luks volume needs encryption; give an Encryption"),
        ("qcow2", {"encryption": "secret"}, "encryption is a str; give an Encryption"),
        ("vmdk", {"encryption": SECRET}, "no vmdk volume can be encrypted"),
        ("raw", {"encryption": SECRET}, "no raw volume can be encrypted; use the format luks or"),
        ("raw", {"backing": "b"}, "a raw volume has no backing file; use the format qcow2"),
        ("luks", {"backing": "b", "encryption": SECRET}, "a luks volume has no backing file"),
        ("qcow2", {"backing": ""}, "backing file '' is no path"),
        ("qcow2", {"backing": b"b"}, "backing file b'b' is no path"),
        ("qcow2", {"backing": "a\nb"}, "backing file 'a.nb' has a control character"),
        ("qcow2", {"backing": "a\ud800"}, "backing file 'a.ud800' has characters that UTF-8"),
        ("qed", {"backing": "b" * 1024}, "the backing file's name has 1024 bytes, and the"),
        ("qcow2", {"backing_format": "raw"}, "a backing format, 'raw', without a backing file"),
        ("qcow2", {"backing": "b", "backing_format": "x"}, "unknown backing format 'x'; known: "),
        ("qcow2", {"backing": "b", "backing_format": []}, r"unknown backing format \[\]; known: "),
        ("qcow2", {"backing": BackingFile("b", cast("str", {}))}, "unknown backing format {}; k"),
        (["qcow2"], {}, r"unknown format \['qcow2'\]; known: raw, qcow2"),
        (None, {}, "unknown format None; known: "),
        (
            "qcow2",
            {"backing": BackingFile("b", "raw"), "backing_format": "qed"},
            "backing format 'qed', yet the backing file says 'raw'",
        ),
        ("vmdk", {"backing": "b", "backing_format": "raw"}, "the backing file of a vmdk is a"),
        (
            "qcow2",
            {"backing": "b", "preallocation": "metadata"},
            "preallocation 'metadata' would hide the backing file; .* extended_l2",
        ),
    ],
)
def test_what_a_format_cannot_be_is_refused_with_the_reason(
    format_: Any, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidSpec, match=f"volume 'a': {reason}"):
        VolumeSpec("a", capacity=MIB, format=format_, **options)


@pytest.mark.parametrize(
    ("largest", "options"),
    [
        (128 * GIB, {"format": "qcow2", "cluster_size": 512}),
        (2 << 50, {"format": "qcow2"}),
        (1 << 50, {"format": "qcow2", "extended_l2": True}),
        (2 << 60, {"format": "qcow2", "cluster_size": "2 MiB"}),
        (1 << 60, {"format": "qcow2", "cluster_size": "2 MiB", "extended_l2": True}),
        (16 * GIB, {"format": "qed", "cluster_size": 4096}),
        (64 << 40, {"format": "qed"}),
        (0x1FFFFF8000000, {"format": "vdi"}),
        (2040 * GIB, {"format": "vpc"}),
    ],
)
def test_the_largest_capacity_is_the_formats_own(largest: int, options: dict[str, Any]) -> None:
    assert VolumeSpec("a", capacity=largest, **options).capacity == largest
    with pytest.raises(
        InvalidSpec, match=f"is above the {largest} bytes that a {options['format']}"
    ):
        VolumeSpec("a", capacity=largest + 1, **options)


def test_larger_clusters_are_proposed_where_they_would_help() -> None:
    with pytest.raises(InvalidSpec, match="choose larger clusters or a smaller capacity"):
        VolumeSpec("a", capacity=4 << 50, format="qcow2")
    with pytest.raises(InvalidSpec, match="can have; choose a smaller capacity"):
        VolumeSpec("a", capacity=4 << 60, format="qcow2", cluster_size="2 MiB")


@pytest.mark.parametrize("format_", ["qcow2", "qed", "vmdk", "vdi", "vpc"])
def test_an_image_may_have_no_capacity_at_all(format_: str) -> None:
    assert VolumeSpec("a", capacity=0, format=format_).capacity == 0


@pytest.mark.parametrize(
    ("options", "preallocation", "allocation"),
    [
        ({}, "off", 0),
        ({"allocation": "1 GiB"}, "falloc", GIB),
        ({"preallocation": "metadata"}, "metadata", 0),
        ({"preallocation": "metadata", "allocation": 0}, "metadata", 0),
        ({"preallocation": "full"}, "full", GIB),
    ],
)
def test_an_image_is_all_on_disk_or_nothing_of_it(
    options: dict[str, Any], preallocation: str, allocation: int
) -> None:
    spec = VolumeSpec("a", capacity=GIB, format="qcow2", **options)
    assert (spec.preallocation, spec.allocation) == (preallocation, allocation)


def test_every_option_of_a_qcow2_is_kept() -> None:
    spec = VolumeSpec(
        "a",
        capacity="1 GiB",
        format="qcow2",
        backing=PurePath("../b.raw"),
        backing_format="raw",
        compat="1.1",
        cluster_size="128 KiB",
        lazy_refcounts=True,
        extended_l2=True,
        encryption=SECRET,
        nocow=True,
    )
    assert spec.backing == BackingFile("../b.raw", "raw")
    assert (spec.compat, spec.cluster_size) == ("1.1", 131072)
    assert (spec.lazy_refcounts, spec.extended_l2, spec.nocow) == (True, True, True)
    assert spec.encryption is SECRET


def test_a_secret_is_in_no_repr() -> None:
    assert "secret'" not in repr(VolumeSpec("a", capacity=1, format="luks", encryption=SECRET))


@pytest.mark.parametrize(
    ("options", "allocation"),
    [
        ({}, 0),
        ({"allocation": 0, "preallocation": "full"}, 0),
        ({"allocation": MIB}, MIB),
        ({"preallocation": "full"}, GIB),
        ({"preallocation": "falloc", "format": "qcow2"}, GIB),
    ],
)
def test_an_allocation_is_completed_with_the_capacity(
    options: dict[str, Any], allocation: int
) -> None:
    spec = VolumeSpec("a", **options)
    assert spec.capacity is None
    completed = spec.with_capacity(GIB)
    assert (completed.capacity, completed.allocation) == (GIB, allocation)
    assert completed == VolumeSpec("a", capacity=GIB, **options)


def test_a_capacity_that_is_given_stays() -> None:
    spec = VolumeSpec("a", capacity=MIB)
    assert spec.with_capacity(GIB) is spec


def test_a_capacity_found_later_is_checked_as_one_that_is_given() -> None:
    with pytest.raises(InvalidSpec, match="volume 'a': allocation, 1073741824 bytes, is above"):
        VolumeSpec("a", allocation="1 GiB").with_capacity(MIB)
    with pytest.raises(InvalidSpec, match="volume 'a': capacity is 0"):
        VolumeSpec("a").with_capacity(0)


def test_a_backing_format_is_completed_and_one_that_is_given_stays() -> None:
    spec = VolumeSpec("a", format="qcow2", backing="b", mode="0640")
    assert spec.with_backing_format("qed") == VolumeSpec(
        "a", format="qcow2", backing="b", backing_format="qed", mode=0o640
    )
    assert spec.with_backing_format("qed").with_backing_format("raw").backing == BackingFile(
        "b", "qed"
    )
    alone = VolumeSpec("a", capacity=1)
    assert alone.with_backing_format("raw") is alone


def test_a_backing_format_found_later_is_checked_as_one_that_is_given() -> None:
    with pytest.raises(InvalidSpec, match="volume 'a': the backing file of a vmdk is a vmdk"):
        VolumeSpec("a", format="vmdk", backing="b").with_backing_format("raw")


def test_what_means_the_same_is_equal() -> None:
    plain = VolumeSpec("a", capacity=1, format="qcow2")
    assert plain == VolumeSpec(
        "a",
        capacity=1,
        format="qcow2",
        compat="1.1",
        lazy_refcounts=False,
        extended_l2=False,
        nocow=False,
    )


@pytest.mark.parametrize("label", ["", 5, "a\nb", "\x01", "\ud800"])
def test_what_is_no_label_is_refused(label: Any) -> None:
    with pytest.raises(InvalidSpec, match="volume 'a': label"):
        VolumeSpec("a", capacity=1, label=label)


def test_a_directory_needs_no_capacity() -> None:
    assert VolumeSpec("a", format="dir").capacity is None


@pytest.mark.parametrize(
    "option", [{"preallocation": "full"}, {"backing": "b"}, {"cluster_size": 65536}]
)
def test_a_directory_has_no_content_to_choose(option: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        VolumeSpec("a", format="dir", capacity=1, **option)


def test_metadata_is_preallocated_where_nothing_is_said_of_it() -> None:
    assert VolumeSpec("a", format="qcow2").with_metadata().preallocation == "metadata"
    full = VolumeSpec("a", format="qcow2", preallocation="full")
    assert full.with_metadata() == full


@pytest.mark.parametrize("option", [{"format": "raw"}, {"format": "qcow2", "backing": "b"}])
def test_metadata_that_cannot_be_preallocated_is_refused_as_libvirt_does(
    option: dict[str, Any],
) -> None:
    with pytest.raises(ConflictingValues) as caught:
        VolumeSpec("a", capacity=1, **option).with_metadata()
    assert caught.value.code == ErrorCode.CONFIG_UNSUPPORTED
