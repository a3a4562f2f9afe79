"""Small images of every format that is recognised, made without any tool.

They are as small as QEMU accepts, so that a fuzzer's changes to them meet something that matters.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from struct import pack, pack_into
from uuid import UUID

from volary.engine.formats.probe import Probe
from volary.engine.image_info import BackingFile, ImageInfo

SECTOR = 512


@dataclass(frozen=True)
class Sample:
    """A file of `size` bytes that begins with `data`; `info` is what is to be recognised in it."""

    name: str
    data: bytes = field(repr=False)
    info: ImageInfo
    size: int = 0

    @contextmanager
    def probe(self) -> Iterator[Probe]:
        """Give the file as it is looked at."""
        with probe_of(self.data, max(self.size, len(self.data)), self.name) as probe:
            yield probe


@contextmanager
def probe_of(data: bytes, size: int | None = None, name: str = "image") -> Iterator[Probe]:
    """Give a file in memory, of `size` bytes, as it is looked at."""
    fd = os.memfd_create("image")
    try:
        os.write(fd, data)
        if size is not None:
            os.ftruncate(fd, size)
        yield Probe(fd, os.fstat(fd).st_size, name)
    finally:
        os.close(fd)


def _at(size: int, *parts: tuple[int, bytes]) -> bytes:
    data = bytearray(size)
    for offset, content in parts:
        data[offset : offset + len(content)] = content
    return bytes(data)


def _extension(kind: int, content: bytes) -> bytes:
    return pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)


def _qcow2(
    version: int,
    *,
    capacity: int = 1 << 20,
    cluster_bits: int = 12,
    encryption: int = 0,
    incompatible: int = 0,
    compatible: int = 0,
    extensions: tuple[tuple[int, bytes], ...] = (),
    backing: bytes = b"",
) -> bytes:
    """The clusters are: header, reference count table, reference count block, L1 table."""
    cluster = 1 << cluster_bits
    base_length = 72 if version == 2 else 104
    added = b"".join(_extension(kind, content) for kind, content in extensions) + bytes(8)
    backing_at = base_length + len(added) if backing else 0
    base = pack(
        ">4sIQIIQIIQQIIQ",
        *(b"QFI\xfb", version, backing_at, len(backing), cluster_bits, capacity, encryption),
        *(512, 3 * cluster, cluster, 1, 0, 0),
    )
    if version == 3:
        base += pack(">QQQII", incompatible, compatible, 0, 4, base_length)
    table = pack(">Q", 2 * cluster)
    counts = pack(">4H", 1, 1, 1, 1)
    return _at(
        4 * cluster,
        (0, base + added + backing),
        (cluster, table),
        (2 * cluster, counts),
    )


def _qcow(*, backing: bytes = b"", encryption: int = 0) -> bytes:
    header = pack(
        ">4sIQIIQBBHIQ",
        *(b"QFI\xfb", 1, 56 if backing else 0, len(backing), 0, 1 << 20),
        *(12, 9, 0, encryption, 48),
    )
    return _at(2048, (0, header), (56, backing))


def _qed(*, features: int = 0, backing: bytes = b"") -> bytes:
    header = pack("<4sIIIQQQQQII", b"QED\0", 4096, 2, 1, features, 0, 0, 4096, 1 << 20, 64, 0)
    header = header[:-4] + pack("<I", len(backing))
    return _at(4 * 4096, (0, header), (64, backing))


_DESCRIPTION = (
    b"# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
    b'createType="%s"\n%s\n# Extent description\n%s\n'
)


def _vmdk(*, parent: bytes = b"") -> bytes:
    header = (
        pack("<4sIIQQQQIQQQ", b"KDMV", 1, 3, 2048, 128, 1, 20, 512, 21, 26, 128) + b"\0\n \r\n\0\0"
    )
    hint = b'parentFileNameHint="%s"' % parent if parent else b""
    text = _DESCRIPTION % (b"monolithicSparse", hint, b'RW 2048 SPARSE "image"')
    return _at(128 * SECTOR, (0, header), (SECTOR, text))


def _vmdk_of_esx() -> bytes:
    header = pack("<4sIIIIIIIIII", b"COWD", 1, 3, 2048, 1, 4, 1, 5, 1, 1, 1)
    text = _DESCRIPTION % (b"vmfsSparse", b'parentFileNameHint="base.vmdk"', b"")
    return _at(16 * SECTOR, (0, header), (SECTOR, text))


def _vmdk_text() -> bytes:
    extents = b'RW 2048 FLAT "image-f001.vmdk" 0\nRW 1024 FLAT "image-f002.vmdk" 0'
    return _DESCRIPTION % (b"twoGbMaxExtentFlat", b"", extents)


def _vdi() -> bytes:
    header = pack(
        "<4sIIII256xIIIIII4xQIIII64x",
        *(b"\x7f\x10\xda\xbe", 0x00010001, 400, 1, 0, 512, 1024, 0, 0, 0, 512),
        *(2 << 20, 1 << 20, 0, 2, 0),
    )
    return _at(1024, (0, b"<<< a VDI >>>\n"), (64, header))


def checksummed(footer: bytes) -> bytes:
    """Return the footer of a VHD with its checksum."""
    data = bytearray(footer)
    data[64:68] = bytes(4)
    pack_into(">I", data, 64, ~sum(data) & 0xFFFFFFFF)
    return bytes(data)


def _vhd_footer(kind: int, creator: bytes, capacity: int, dynamic_at: int) -> bytes:
    return checksummed(
        pack(
            ">8sIIQI4sHH4sQQHBBII16s428x",
            *(b"conectix", 2, 0x10000, dynamic_at, 0, creator, 5, 3, b"Wi2k"),
            *(capacity, capacity, 68, 4, 17, kind, 0, bytes(16)),
        )
    )


def _vpc(kind: int, *, parent: str = "", creator: bytes = b"qemu") -> bytes:
    footer = _vhd_footer(kind, creator, 68 * 4 * 17 * SECTOR, SECTOR)
    dynamic = pack(
        ">8sQQIIII16sII512s",
        *(b"cxsparse", 2**64 - 1, 1536, 0x10000, 2, 2 << 20, 0, bytes(16), 0, 0),
        parent.encode("utf-16-be"),
    )
    return _at(2560, (0, footer), (SECTOR, dynamic), (1536, b"\xff" * 8), (2048, footer))


def _fixed_vpc() -> bytes:
    size = 68 * 4 * 17 * SECTOR
    return bytes(size) + _vhd_footer(2, b"qemu", size, 2**64 - 1)


def _vhdx(*, flags: int = 0, block: int = 1 << 20, capacity: int = 8 << 20) -> bytes:
    metadata = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
    bat = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08").bytes_le
    parameters = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
    size = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
    metadata_at = 256 << 10  # in a real one, behind the first MiB
    regions = pack("<4sIII", b"regi", 0, 2, 0)
    regions += pack("<16sQII", bat, 3 << 20, 1 << 20, 1)
    regions += pack("<16sQII", metadata, metadata_at, 1 << 20, 1)
    table = pack("<8sHH20x", b"metadata", 0, 2)
    table += pack("<16sIIII", parameters, 1024, 8, 4, 0)
    table += pack("<16sIIII", size, 1032, 8, 6, 0)
    items = pack("<IIQ", block, flags, capacity)
    return _at(
        metadata_at + 1040,
        (0, b"vhdxfile"),
        (192 << 10, regions),
        (metadata_at, table),
        (metadata_at + 1024, items),
    )


def _luks1() -> bytes:
    header = pack(">6sH32s32s32sII", b"LUKS\xba\xbe", 1, b"aes", b"xts-plain64", b"sha256", 8, 64)
    return _at(2 * 4096, (0, header))


def luks2(document: object, *, header_length: int = 16384) -> bytes:
    """Return a LUKS2 header with this document in its JSON area."""
    start = pack(">6sHQQ48s32s", b"LUKS\xba\xbe", 2, header_length, 1, b"", b"sha256")
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return _at(2 * header_length, (0, start), (4096, text))


def _segment(size: str, flags: tuple[str, ...] = ()) -> dict[str, object]:
    segment: dict[str, object] = {"type": "crypt", "offset": "32768", "size": size}
    if flags:
        segment["flags"] = flags
    return segment


def _iso() -> bytes:
    return _at(40 << 10, (32768, b"\1CD001\1"), (34816, b"\xffCD001\1"))


def _bochs(version: int) -> bytes:
    words = pack("<IIII", 512, 256, 512, 4096)  # header, catalogue, bitmap, extent
    if version == 2:
        words += bytes(4)
    start = pack("<32s16s16sI", b"Bochs Virtual HD Image", b"Redolog", b"Growing", version << 16)
    return _at(512 + 4 * 256, (0, start + words + pack("<Q", 1 << 20)))


def _cloop() -> bytes:
    script = (
        b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"
    )
    offsets = b"".join(pack(">Q", offset) for offset in (160, 170, 180))
    return _at(180, (0, script), (128, pack(">II", 65536, 2)), (136, offsets))


def _dmg() -> bytes:
    """The trailer names a property list of 64 bytes at 512, and 2048 sectors."""
    trailer = _at(
        512,
        (0, pack(">4sIII", b"koly", 4, 512, 1)),
        (0xD8, pack(">QQ", 512, 64)),
        (0x1EC, pack(">Q", 2048)),
    )
    return _at(1024, (512, b"<plist></plist>")) + trailer


def _ploop(magic: bytes) -> bytes:
    header = pack("<16sIIIIIQII12s", magic, 2, 16, 1, 63, 64, 2048, 0, 8, b"")
    return _at(8 * SECTOR, (0, header))


def _cow() -> bytes:
    return _at(2048, (0, pack(">4sI1024sIQI", b"OOOM", 2, b"base.img", 0, 1 << 20, 512)))


_MIB = 1 << 20
_VHD_SIZE = 68 * 4 * 17 * SECTOR
_BACKING_FORMAT = 0xE2792ACA
_DATA_FILE = 0x44415441
_CRYPTO_HEADER = 0x0537BE77


def _qcow2_info(**more: object) -> ImageInfo:
    return ImageInfo(
        **{"format": "qcow2", "capacity": _MIB, "cluster_size": 4096, "compat": "1.1", **more}  # type: ignore[arg-type]
    )


SAMPLES = (
    Sample("qcow2-v2", _qcow2(2), _qcow2_info(compat="0.10")),
    Sample(
        "qcow2-v2-backing",
        _qcow2(2, extensions=((_BACKING_FORMAT, b"raw"),), backing=b"base.img"),
        _qcow2_info(compat="0.10", backing=BackingFile("base.img", "raw")),
    ),
    Sample("qcow2-v2-aes", _qcow2(2, encryption=1), _qcow2_info(compat="0.10", encryption="aes")),
    Sample("qcow2-v3", _qcow2(3), _qcow2_info()),
    Sample("qcow2-v3-lazy", _qcow2(3, compatible=1), _qcow2_info(lazy_refcounts=True)),
    Sample("qcow2-v3-dirty", _qcow2(3, incompatible=1), _qcow2_info()),
    Sample(
        "qcow2-v3-luks",
        _qcow2(3, encryption=2, extensions=((_CRYPTO_HEADER, pack(">QQ", 4 * 4096, 4096)),)),
        _qcow2_info(encryption="luks"),
    ),
    Sample(
        "qcow2-v3-subclusters",
        _qcow2(3, incompatible=1 << 4, cluster_bits=14),
        _qcow2_info(cluster_size=16384, extended_l2=True),
    ),
    Sample(
        "qcow2-v3-backing",
        _qcow2(
            3,
            extensions=((0x12345678, b"unknown"), (_BACKING_FORMAT, b"qcow2")),
            backing=b"dir/\xff.qcow2",
        ),
        _qcow2_info(backing=BackingFile("dir/\udcff.qcow2", "qcow2")),
    ),
    Sample(
        "qcow2-v3-backing-without-format",
        _qcow2(3, backing=b"json:{}"),
        _qcow2_info(backing=BackingFile("json:{}")),
    ),
    Sample(
        "qcow2-v3-data-file",
        _qcow2(3, incompatible=1 << 2, extensions=((_DATA_FILE, b"data.raw"),)),
        _qcow2_info(data_file="data.raw"),
    ),
    Sample("qcow", _qcow(), ImageInfo("qcow", _MIB, cluster_size=4096)),
    Sample(
        "qcow-backing",
        _qcow(backing=b"base.img", encryption=1),
        ImageInfo(
            "qcow", _MIB, cluster_size=4096, encryption="aes", backing=BackingFile("base.img")
        ),
    ),
    Sample("qed", _qed(), ImageInfo("qed", _MIB, cluster_size=4096)),
    Sample(
        "qed-backing",
        _qed(features=1, backing=b"base.qcow2"),
        ImageInfo("qed", _MIB, cluster_size=4096, backing=BackingFile("base.qcow2")),
    ),
    Sample(
        "qed-backing-raw",
        _qed(features=5, backing=b"base.img"),
        ImageInfo("qed", _MIB, cluster_size=4096, backing=BackingFile("base.img", "raw")),
    ),
    Sample("vmdk", _vmdk(), ImageInfo("vmdk", _MIB, cluster_size=65536)),
    Sample(
        "vmdk-parent",
        _vmdk(parent=b"base.vmdk"),
        ImageInfo("vmdk", _MIB, cluster_size=65536, backing=BackingFile("base.vmdk", "vmdk")),
    ),
    Sample(
        "vmdk-esx",
        _vmdk_of_esx(),
        ImageInfo("vmdk", _MIB, cluster_size=512, backing=BackingFile("base.vmdk", "vmdk")),
    ),
    Sample(
        "vmdk-text",
        _vmdk_text(),
        ImageInfo("vmdk", _MIB + _MIB // 2, data_file="image-f001.vmdk"),
    ),
    Sample("vdi", _vdi(), ImageInfo("vdi", 2 * _MIB, cluster_size=_MIB)),
    Sample("vpc", _vpc(3), ImageInfo("vpc", _VHD_SIZE, cluster_size=2 * _MIB)),
    Sample(
        "vpc-parent",
        _vpc(4, parent="Bäse.vhd"),
        ImageInfo("vpc", _VHD_SIZE, cluster_size=2 * _MIB, backing=BackingFile("Bäse.vhd", "vpc")),
    ),
    # A guest could have written the footer into its last sector.
    Sample("vpc-fixed", _fixed_vpc(), ImageInfo("raw", _VHD_SIZE + 512)),
    Sample("vhdx", _vhdx(), ImageInfo("vhdx", 8 * _MIB, cluster_size=_MIB)),
    Sample("luks1", _luks1(), ImageInfo("luks", 4096, encryption="luks")),
    Sample(
        "luks2",
        luks2({"segments": {"0": _segment("dynamic")}}),
        ImageInfo("luks", _MIB - 32768, encryption="luks"),
        size=_MIB,
    ),
    Sample(
        "luks2-half-encrypted-anew",
        luks2(
            {
                "segments": {
                    "0": _segment("4096"),
                    "1": {"type": "linear", "offset": "36864", "size": "8192"},
                    "2": _segment("dynamic", ("backup-final",)),
                }
            }
        ),
        ImageInfo("luks", 12288, encryption="luks"),
        size=_MIB,
    ),
    Sample("iso", _iso(), ImageInfo("iso", 40 << 10)),
    Sample("bochs", _bochs(2), ImageInfo("bochs", _MIB)),
    Sample("bochs-v1", _bochs(1), ImageInfo("bochs", _MIB)),
    Sample("cloop", _cloop(), ImageInfo("cloop", 2 * 65536, cluster_size=65536)),
    Sample("image.dmg", _dmg(), ImageInfo("dmg", _MIB)),
    Sample("ploop", _ploop(b"WithouFreSpacExt"), ImageInfo("ploop", _MIB, cluster_size=63 * 512)),
    Sample(
        "ploop-old", _ploop(b"WithoutFreeSpace"), ImageInfo("ploop", _MIB, cluster_size=63 * 512)
    ),
    Sample("cow", _cow(), ImageInfo("cow", _MIB, backing=BackingFile("base.img"))),
    Sample("empty", b"", ImageInfo("raw", 0)),
    Sample("one-byte", b"Q", ImageInfo("raw", 1)),
    Sample("zeros", bytes(_MIB), ImageInfo("raw", _MIB)),
    Sample("text", b"# a text\nthat is long\n" * 100, ImageInfo("raw", 2200)),
    Sample("script", b"#!/bin/sh\nexit\n", ImageInfo("raw", 15)),
    # A guest of another image may write whatever it likes into its sectors.
    Sample(
        "qcow2-with-iso-within",
        _at(65536, (0, _qcow2(3)), (32768, b"\1CD001\1")),
        _qcow2_info(),
    ),
)
