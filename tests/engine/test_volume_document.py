from __future__ import annotations

from contextlib import suppress
from time import process_time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volary.engine.encryption import Encryption
from volary.engine.errors import ErrorCode, InvalidDocument, InvalidSpec, NotInSchema, VolaryError
from volary.engine.image_info import BackingFile, ImageInfo
from volary.engine.names import name_problem
from volary.engine.pool_type import PARTITION_FORMATS
from volary.engine.volume_details import (
    BackingDetails,
    Inode,
    VolumeDetails,
    VolumeExtent,
)
from volary.engine.volume_document import (
    read_volume_document,
    write_volume_details,
    write_volume_document,
)
from volary.engine.volume_format import BACKING_FORMATS
from volary.engine.volume_info import VolumeInfo
from volary.engine.volume_spec import VolumeSpec

KEY = UUID("5f2b8d0a-8d4f-4f0c-9b0e-0d6a3c1c2f11")


def document(inside: str = "", capacity: str = "<capacity>4096</capacity>", head: str = "") -> str:
    return f"<volume{head}>\n<name>a</name>\n{capacity}\n{inside}\n</volume>"


def target(inside: str) -> str:
    return document(f"<target>\n{inside}\n</target>")


# Both ways.

_texts = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="\x7f"), min_size=1
).filter(lambda text: all(ord(c) >= 160 or ord(c) < 127 for c in text))
_names = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_characters="/\x7f"),
    min_size=1,
    max_size=40,
).filter(lambda name: name_problem(name) is None)
_ids = st.none() | st.integers(0, 2**32 - 2)
_words = st.none() | st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
_flags = st.none() | st.booleans()
_encryptions = st.builds(
    Encryption,
    st.none(),
    reference=st.none() | st.uuids() | _texts,
    cipher=_words | st.sampled_from(["aes-256", "aes-0256", "des", "serpent-0"]),
    mode=_words,
    hash=_words,
    ivgen=_words,
    ivgen_hash=_words,
)


@st.composite
def _specs(draw: st.DrawFn) -> VolumeSpec:
    format_ = draw(
        st.sampled_from(
            ["raw", "qcow2", "qed", "vmdk", "vdi", "vpc", "luks", "dir", *PARTITION_FORMATS]
        )
    )
    options: dict[str, Any] = {"format": format_}
    capacity = draw(st.none() | st.integers(1, 2**40))
    if format_ in ("raw", "luks", "qcow2", *PARTITION_FORMATS):
        options["preallocation"] = draw(st.sampled_from([None, "off", "falloc", "full"]))
    if format_ == "raw" and options["preallocation"] != "off":
        options["allocation"] = draw(st.none() | st.integers(0, capacity or 2**40))
        if options["allocation"] == 0:
            options["preallocation"] = None
    if format_ == "qcow2":
        options["compat"] = draw(st.sampled_from([None, "0.10", "1.1"]))
        options["cluster_size"] = draw(st.sampled_from([None, 65536, 1 << 20]))
        if options["compat"] != "0.10":
            options["lazy_refcounts"] = draw(_flags)
            options["extended_l2"] = draw(_flags)
    if format_ == "luks" or (format_ == "qcow2" and draw(st.booleans())):
        options["encryption"] = draw(_encryptions)
    backing_formats = {"qcow2": sorted(BACKING_FORMATS), "qed": ["raw", "qcow2"], "vmdk": ["vmdk"]}
    if format_ in backing_formats and draw(st.booleans()):
        options |= {
            "preallocation": None,
            "backing": draw(_names),
            "backing_format": draw(st.sampled_from([None, *backing_formats[format_]])),
        }
    return VolumeSpec(
        draw(_names),
        capacity=capacity,
        nocow=draw(_flags),
        mode=draw(st.none() | st.integers(0, 0o777)),
        owner=draw(_ids),
        group=draw(_ids),
        label=draw(st.none() | _texts),
        **options,
    )


@given(_specs())
def test_a_spec_comes_back_from_its_document(spec: VolumeSpec) -> None:
    pool_type = "disk" if spec.format in PARTITION_FORMATS else "dir"
    written = write_volume_document(spec)
    assert read_volume_document(written, pool_type=pool_type, capacity_needed=False) == spec


@given(_specs())
def test_what_is_written_again_is_the_same(spec: VolumeSpec) -> None:
    pool_type = "disk" if spec.format in PARTITION_FORMATS else "dir"
    written = write_volume_document(spec)
    again = read_volume_document(written, pool_type=pool_type, capacity_needed=False)
    assert write_volume_document(again) == written


def test_a_passphrase_is_in_no_document() -> None:
    how = Encryption("geheim", reference=KEY, cipher="aes-256")
    written = write_volume_document(
        VolumeSpec("a", capacity=1 << 20, format="luks", encryption=how)
    )
    assert "geheim" not in written
    found = read_volume_document(written).encryption
    assert found == Encryption(None, reference=KEY, cipher="aes-256")


def test_what_libvirt_has_a_place_for_needs_no_element_of_our_own() -> None:
    spec = VolumeSpec("a", capacity=4096, allocation=512, mode=0o600, label="l")
    assert "volary" not in write_volume_document(spec)


def test_what_libvirt_has_no_place_for_is_in_an_element_of_our_own() -> None:
    spec = VolumeSpec("a", capacity=4096, preallocation="full")
    assert (
        "  <volary:volume xmlns:volary='urn:volary:volume:1' preallocation='full'/>\n"
        in write_volume_document(spec)
    )


# What a document means.


def test_a_raw_volume_without_an_allocation_is_allocated_whole() -> None:
    spec = read_volume_document(document())
    assert (spec.capacity, spec.allocation, spec.preallocation) == (4096, 4096, "falloc")


def test_a_raw_volume_without_capacity_and_allocation_is_allocated_whole() -> None:
    spec = read_volume_document(document(capacity=""), capacity_needed=False)
    assert spec.with_capacity(512).allocation == 512


def test_a_raw_volume_of_no_allocation_is_sparse() -> None:
    spec = read_volume_document(document("<allocation>0</allocation>"))
    assert (spec.allocation, spec.preallocation) == (0, "off")


def test_a_qcow2_is_sparse_whatever_its_allocation() -> None:
    inside = "<allocation>4096</allocation><target><format type='qcow2'/></target>"
    assert read_volume_document(document(inside)).preallocation == "off"


def test_a_qcow2_without_a_compat_is_of_the_old_version() -> None:
    assert read_volume_document(target("<format type='qcow2'/>")).compat == "0.10"


def test_features_make_a_qcow2_of_the_new_version() -> None:
    spec = read_volume_document(target("<format type='qcow2'/><features/>"))
    assert (spec.compat, spec.lazy_refcounts) == ("1.1", None)


def test_an_encrypted_raw_volume_is_our_luks() -> None:
    secret = f"<secret type='passphrase' uuid='{KEY}'/>"
    spec = read_volume_document(target(f"<encryption format='luks'>{secret}</encryption>"))
    assert (spec.format, spec.preallocation) == ("luks", "off")
    assert spec.encryption == Encryption(None, reference=KEY)


def test_an_iso_is_made_raw() -> None:
    spec = read_volume_document(target("<format type='iso'/>"))
    assert (spec.format, spec.allocation) == ("raw", 0)


def test_a_backing_file_without_a_format_is_raw() -> None:
    spec = read_volume_document(
        document(
            "<target><format type='qcow2'/></target><backingStore><path>b</path></backingStore>"
        )
    )
    assert spec.backing == BackingFile("b", "raw")


def test_a_volume_over_a_backing_file_needs_no_capacity() -> None:
    inside = "<target><format type='qcow2'/></target><backingStore><path>b</path></backingStore>"
    assert read_volume_document(document(inside, capacity="")).capacity is None


def test_a_volume_of_a_logical_pool_has_no_format_to_choose() -> None:
    assert read_volume_document(target("<format type='x'/>"), pool_type="logical").format == "raw"


def test_a_partition_is_for_something() -> None:
    spec = read_volume_document(target("<format type='linux-swap'/>"), pool_type="disk")
    assert spec.format == "linux-swap"
    assert read_volume_document(document(), pool_type="disk").format == "none"


# What is refused.


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        (
            "<volume>\n<capacity>1</capacity></volume>",
            "XML_ERROR",
            "line 1: <volume> has no <name>",
        ),
        (document(capacity="<capacity>\nx</capacity>"), "XML_ERROR", "line 3: <capacity> holds"),
        (
            document(capacity=f"<capacity>{'9' * 5000}</capacity>"),
            "XML_ERROR",
            "line 3: <capacity>",
        ),
        (
            document(capacity="<capacity unit='x'>1</capacity>"),
            "INVALID_ARG",
            "line 3: .* unit 'x'",
        ),
        (
            document(capacity="<capacity unit='E'>8</capacity>"),
            "OVERFLOW",
            "line 3: <capacity> is 8 E",
        ),
        (
            document(head=" type='x'"),
            "CONFIG_UNSUPPORTED",
            "line 1: <volume> has the unknown type",
        ),
        (target("<format type='x'/>"), "CONFIG_UNSUPPORTED", "line 5: <format> has the type 'x'"),
        (target("<features>\n<x/></features>"), "CONFIG_UNSUPPORTED", "line 6: .* feature 'x'"),
        (target("<compat>1</compat>"), "XML_ERROR", "line 5: <compat> holds '1'"),
        (target("<encryption/>"), "XML_ERROR", "line 5: <encryption> has no format"),
        (
            target("<encryption format='luks'>\n<cipher name='aes'/></encryption>"),
            "XML_ERROR",
            "line 6: <cipher> has no size",
        ),
        (
            document("<backingStore><path>b</path></backingStore>"),
            "NO_SUPPORT",
            "line 1: volume 'a': <backingStore>: a raw volume has none",
        ),
        (
            target("<format type='qed'/><compat>1.1</compat>"),
            "CONFIG_UNSUPPORTED",
            "line 1: volume 'a': <compat> is for qcow2",
        ),
        (target("<format type='bochs'/>"), "INVALID_ARG", "line 1: volume 'a': unknown format"),
    ],
)
def test_what_libvirt_refuses_is_refused_with_its_code_and_the_line(
    text: str, code: str, reason: str
) -> None:
    with pytest.raises(InvalidSpec, match=f"^{reason}") as caught:
        read_volume_document(text)
    assert caught.value.code == ErrorCode[code]


@pytest.mark.parametrize("text", ["", "x", "<volume>", "<pool/>", b"\xff\xfe", "\ud800"])
def test_what_is_no_volume_document_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidDocument):
        read_volume_document(text)


@pytest.mark.parametrize(
    ("inside", "line"),
    [
        ("<target/>\n<x/>", 5),
        ("<target>\n<x/></target>", 5),
        ("<target><permissions>\n<mode>\n8</mode></permissions></target>", 5),
        ("<target x='1'/>", 4),
        ("<target/>words", 1),
        ("<target/><key/><key/>", 4),
        ("<target><timestamps><atime>x</atime></timestamps></target>", 4),
        ("", 1),
    ],
)
def test_what_nobody_reads_is_refused_with_its_line_where_that_is_asked_for(
    inside: str, line: int
) -> None:
    with pytest.raises(NotInSchema, match=f"^line {line}: ") as caught:
        read_volume_document(document(inside), validate=True)
    assert caught.value.code == ErrorCode.XML_INVALID_SCHEMA


def test_our_own_element_is_valid() -> None:
    spec = VolumeSpec("a", capacity=4096, preallocation="full")
    assert read_volume_document(write_volume_document(spec), validate=True) == spec


_PIECES = (
    *(
        "<volume>",
        "</volume>",
        "<name>a</name>",
        "<capacity>1</capacity>",
        "<target>",
        "</target>",
    ),
    *("<features>", "</features>", "<permissions>", "<backingStore>", "<secret/>", "<x/>"),
    *("<encryption format='luks'>", "</encryption>", "x", "&lt;", "<!--", "-->"),
)


@pytest.mark.parametrize("validate", [False, True])
@given(st.lists(st.sampled_from(_PIECES)))
def test_whatever_is_read_fails_with_an_error_of_ours_or_not_at_all(
    validate: bool, pieces: list[str]
) -> None:
    with suppress(VolaryError):
        read_volume_document("<volume>" + "".join(pieces), validate=validate)


# What is there.

_INODE = Inode(0o640, 1, 2, "l", 1_500_000_000, 2_000_000_000, 3_000_000_001, None)


def described(pool_type: str = "dir", **more: Any) -> str:
    info = VolumeInfo("a", 4096, 512, 4096, **more)
    return write_volume_details(VolumeDetails(info, "k", "/a", _INODE), pool_type=pool_type)


def test_times_are_written_to_the_nanosecond_and_none_that_is_not_known() -> None:
    assert (
        "    <timestamps>\n      <atime>1.500000000</atime>\n      <mtime>2</mtime>\n"
        "      <ctime>3.000000001</ctime>\n    </timestamps>\n"
    ) in described()


def test_an_encrypted_qcow2_says_so() -> None:
    image = ImageInfo("qcow2", 4096, compat="1.1", cluster_size=65536, encryption="luks")
    written = described(format="qcow2", image=image)
    assert "    <encryption format='luks'>\n    </encryption>\n    <compat>1.1" in written


def test_luks_is_libvirts_encrypted_raw() -> None:
    written = described(format="luks", image=ImageInfo("luks", 4096, encryption="luks"))
    assert "<format type='raw'/>" in written
    assert "<encryption format='luks'>" in written


def test_a_format_that_libvirt_has_no_name_for_is_raw() -> None:
    assert "<format type='raw'/>" in described(format="vhdx")


def test_a_logical_volume_has_no_format() -> None:
    assert "<format" not in described("logical", type="block")


def test_a_partition_tells_where_it_is() -> None:
    details = VolumeDetails(
        VolumeInfo("sdb1", 4096, 4096, 4096, type="block", format="linux"),
        "k",
        "/dev/sdb1",
        extents=(
            VolumeExtent("/dev/sdb", 512, 1024),
            VolumeExtent("/dev/sdb", 2048, 4096),
            VolumeExtent("/dev/sdc", 0, 512),
        ),
    )
    assert write_volume_details(details, pool_type="disk") == (
        "<volume type='block'>\n  <name>sdb1</name>\n  <key>k</key>\n  <source>\n"
        "    <device path='/dev/sdb'>\n      <extent start='512' end='1024'/>\n"
        "      <extent start='2048' end='4096'/>\n    </device>\n"
        "    <device path='/dev/sdc'>\n      <extent start='0' end='512'/>\n    </device>\n"
        "  </source>\n  <capacity unit='bytes'>4096</capacity>\n"
        "  <allocation unit='bytes'>4096</allocation>\n  <physical unit='bytes'>4096</physical>\n"
        "  <target>\n    <path>/dev/sdb1</path>\n    <format type='linux'/>\n  </target>\n"
        "</volume>\n"
    )


def test_a_backing_file_that_was_not_looked_at_is_named() -> None:
    info = VolumeInfo("a", 4096, 512, 4096, format="qcow2")
    details = VolumeDetails(info, "k", "/a", backing=BackingDetails("nbd://h/e", None))
    assert (
        "  <backingStore>\n    <path>nbd://h/e</path>\n    <format type='raw'/>\n"
        "  </backingStore>\n"
    ) in write_volume_details(details)


# What is meant to hurt.

_KIB_250 = 250_000
_HOSTILE = {
    "attributes": document(head="".join(f" a{i}=''" for i in range(25_000))),
    "attributes of an encryption": target(
        "<encryption" + "".join(f" a{i}=''" for i in range(25_000)) + "/>"
    ),
    "secrets": target(f"<encryption format='luks'>{'<secret/>' * 25_000}</encryption>"),
    "features": target(f"<features>{'<lazy_refcounts/>' * 14_000}</features>"),
    "targets": document("<target><path>x</path></target>" * 8_000),
    "names": document("<name>a</name>" * 17_000),
    "a name in names": "<volume>" + "<name>" * 200 + "</name>" * 200 + "</volume>",
    "digits": document(capacity=f"<capacity>{'1' * _KIB_250}</capacity>"),
    "spaces": document(capacity=f"<capacity>{' ' * _KIB_250}</capacity>"),
    "a unit": document(capacity=f"<capacity unit='{'k' * _KIB_250}'>1</capacity>"),
    "a version": target(f"<compat>{'1' * _KIB_250}</compat>"),
    "a format": target(f"<format type='{'x' * _KIB_250}'/>"),
    "a cipher": target(
        f"<encryption format='luks'><cipher name='{'a-' * 120_000}' size='1'/></encryption>"
    ),
    "an element of our own": document(
        "<v:volume xmlns:v='urn:volary:volume:1' preallocation='{}'/>".format("x" * _KIB_250)
    ),
}


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize("text", _HOSTILE.values(), ids=_HOSTILE)
def test_a_hostile_document_is_done_with_in_no_time(text: str, validate: bool) -> None:
    began = process_time()
    with suppress(InvalidSpec):
        read_volume_document(text, validate=validate)
    assert process_time() - began < 0.2


@pytest.mark.parametrize("text", _HOSTILE.values(), ids=_HOSTILE)
def test_a_refusal_is_short_however_long_the_document_is(text: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        read_volume_document(text, validate=True)
    assert len(str(caught.value)) < 400
