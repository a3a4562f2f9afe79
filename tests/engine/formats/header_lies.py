"""Headers that say what cannot be: images of the corpus with a few bytes changed."""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack

from tests.engine.formats.image_corpus import SAMPLES, Sample, checksummed, luks2

BY_NAME = {sample.name: sample for sample in SAMPLES}
_HUGE = b"\xff" * 8


@dataclass(frozen=True)
class Lie:
    """The image `sample` with `change` written at an offset, or over a text that it has.

    says: what is in the problem that is told.
    qemu: whether QEMU refuses the image as well, which has a reason to be named where it does not.
    """

    sample: str
    at: int | bytes
    change: bytes
    says: str
    qemu: bool = True

    @property
    def data(self) -> bytes:
        """The file."""
        data = bytearray(BY_NAME[self.sample].data)
        offset = self.at if isinstance(self.at, int) else data.index(self.at)
        data[offset : offset + len(self.change)] = self.change
        if self.sample.startswith("vpc") and offset < 512 and self.says != "checksum":
            data[:512] = checksummed(bytes(data[:512]))
        return bytes(data)

    @property
    def format(self) -> str:
        """What it is all the same."""
        return BY_NAME[self.sample].info.format


def _u16(number: int) -> bytes:
    return pack(">H", number)


def _u32(number: int) -> bytes:
    return pack(">I", number)


def _u64(number: int) -> bytes:
    return pack(">Q", number)


def _le32(number: int) -> bytes:
    return pack("<I", number)


def _le64(number: int) -> bytes:
    return pack("<Q", number)


LIES = (
    Lie("qcow2-v3", 4, _u32(4), "version 4"),
    Lie("qcow2-v3", 4, _u32(0xFFFFFFFF), "version 4294967295"),
    Lie("qcow2-v3", 20, _u32(8), "cluster of 2^8"),
    Lie("qcow2-v3", 20, _u32(22), "cluster of 2^22"),
    Lie("qcow2-v3", 20, _u32(0xFFFFFFFF), "cluster of 2^4294967295"),
    Lie("qcow2-v3", 24, _HUGE, "too few"),
    Lie("qcow2-v3", 24, _u64(1 << 62), "too few"),
    Lie("qcow2-v3", 32, _u32(3), "encryption method 3"),
    Lie("qcow2-v3", 32, _u32(2), "LUKS header"),
    Lie("qcow2-v3", 36, _u32(0), "too few"),
    Lie("qcow2-v3", 36, _u32(0xFFFFFFFF), "too large"),
    Lie("qcow2-v3", 40, _u64(12289), "does not begin with a cluster"),
    # What is beyond the end reads as zeros for QEMU, which are no references and no clusters.
    Lie("qcow2-v3", 40, _u64(1 << 40), "L1 table at 1099511627776 is beyond", qemu=False),
    Lie("qcow2-v3", 48, _u64(1 << 40), "count table at 1099511627776 is beyond", qemu=False),
    Lie("qcow2-v3", 48, _u64(1), "does not begin with a cluster"),
    Lie("qcow2-v3", 56, _u32(0), "no reference count table"),
    Lie("qcow2-v3", 56, _u32(4096), "reference count table of 4096"),
    Lie("qcow2-v3", 60, _u32(65537), "65537 snapshots"),
    Lie("qcow2-v3", 60, _u32(1) + _u64(1 << 40), "snapshot table at 1099511627776", qemu=False),
    Lie("qcow2-v3", 64, _u64(1), "snapshot table at 1"),
    Lie("qcow2-v3", 72, _u64(1 << 5), "0x20"),
    Lie("qcow2-v3", 72, _HUGE, "0xffffffffffffffe0"),
    # QEMU opens it to be read, but not to be written to.
    Lie("qcow2-v3", 72, _u64(1 << 1), "marked as corrupt", qemu=False),
    # QEMU's user has to name it then.
    Lie("qcow2-v3", 72, _u64(1 << 2), "another file", qemu=False),
    Lie("qcow2-v3", 72, _u64(1 << 3), "contradict"),
    Lie("qcow2-v3", 72, _u64(1 << 4), "16 KiB"),
    Lie("qcow2-v3", 96, _u32(7), "2^7 bits"),
    Lie("qcow2-v3", 100, _u32(103), "103"),
    Lie("qcow2-v3", 100, _u32(4097), "4097"),
    Lie("qcow2-v3", 100, _u32(112) + b"\2", "compression method 2"),
    Lie("qcow2-v3", 100, _u32(112) + b"\1", "contradict"),
    Lie("qcow2-v3", 104, _u32(0x12345678) + _u32(1 << 20), "extension of 1048576"),
    Lie("qcow2-v3-backing", 8, _u64(4097), "not in the first cluster"),
    Lie("qcow2-v3-backing", 8, _HUGE, "not in the first cluster"),
    Lie("qcow2-v3-backing", 16, _u32(1024), "1024 bytes"),
    Lie("qcow2-v3-backing", 16, _u32(0xFFFFFFFF), "not in the first cluster"),
    Lie("qcow2-v3-backing", 124, _u32(16), "name of 16"),
    Lie("qcow2-v3-backing", 124, _u32(40), "beyond"),
    # A name in C ends with the zero byte.
    Lie("qcow2-v3-backing", 148, b"\0", "zero byte", qemu=False),
    Lie("qcow2-v3-backing", 128, b"qc\0w2", "zero byte", qemu=False),
    Lie("qcow2-v2", 20, _u32(8), "cluster of 2^8"),
    Lie("qcow", 24, _HUGE, "9223372036854775807"),
    Lie("qcow", 32, b"\x08", "cluster of 2^8"),
    Lie("qcow", 32, b"\x11", "cluster of 2^17"),
    Lie("qcow", 33, b"\x05", "2^5 entries"),
    Lie("qcow", 36, _u32(2), "encryption method 2"),
    Lie("qcow", 40, _u64(1 << 40), "beyond", qemu=False),  # zeros, too
    Lie("qcow-backing", 16, _u32(1024), "1024 bytes"),
    Lie("qcow-backing", 8, _u64(1 << 40), "beyond", qemu=False),  # zeros: an empty name
    Lie("qed", 4, _le32(4095), "cluster of 4095"),
    Lie("qed", 4, _le32(128 << 20), "cluster of 134217728"),
    Lie("qed", 8, _le32(3), "table of 3"),
    Lie("qed", 8, _le32(32), "table of 32"),
    Lie("qed", 16, _le64(1 << 3), "0x8"),
    Lie("qed", 40, _le64(4097), "L1 table at 4097"),
    Lie("qed", 40, _le64(0), "L1 table at 0"),
    Lie("qed", 40, _le64(1 << 40), "L1 table at 1099511627776"),
    Lie("qed", 48, _le64(1000), "whole sectors"),
    Lie("qed", 48, _le64(1 << 62), "tables can hold"),
    Lie("qed-backing", 56, _le32(1 << 20), "not in the header"),
    Lie("qed-backing", 60, _le32(4096 - 64), "zero byte", qemu=False),
    Lie("vmdk", 4, _le32(4), "version 4"),
    Lie("vmdk", 20, _le64(0), "grain of 0"),
    Lie("vmdk", 20, _le64(1 << 22), "grain of 2147483648"),
    Lie("vmdk", 44, _le32(513), "grain table of 513"),
    Lie("vmdk", 44, _le32(0), "grain table of 0"),
    Lie("vmdk", 64, _le64(1 << 40), "beyond"),
    Lie("vmdk", 12, _le64(1 << 60), "9223372036854775807"),
    Lie("vmdk-parent", b'vmdk"', b"vmdk\0", "no end"),
    Lie("vmdk-text", b"twoGb", b"tenGb", "not known"),
    Lie("vmdk-text", b"createType", b"createtype", "createType"),
    Lie("vdi", 68, _le32(0x00010000), "version 1.0"),
    Lie("vdi", 340, _le32(513), "512 bytes"),
    Lie("vdi", 360, _le32(4096), "512 bytes"),
    Lie("vdi", 368, _le64((2 << 20) + 512), "too few"),
    Lie("vdi", 376, _le32(2 << 20), "block of 2097152"),
    Lie("vdi", 424, b"\1" * 16, "another image"),
    Lie("vdi", 440, b"\1" * 16, "another image"),
    Lie("vpc", 12, _u32(0x20000), "version 2.0", qemu=False),  # QEMU does not look at it
    Lie("vpc", 16, _u64(1 << 40), "the file ends"),
    Lie("vpc", 16, _HUGE, "the file ends"),
    Lie("vpc", 16, _u64(1024), "no header of a dynamic"),
    Lie("vpc", 56, _u16(65535), "too few"),
    Lie("vpc", 70, b"\1", "checksum"),
    Lie("vpc", 512 + 32, _u32(12345), "block of 12345"),
    Lie("vpc", 512 + 28, _u32(1), "too few"),
    # QEMU takes no notice of a parent.
    Lie("vpc-parent", 512 + 64, bytes(2), "does not name", qemu=False),
    Lie("vhdx", 192 << 10, b"xxxx", "no region table"),
    Lie("vhdx", (192 << 10) + 8, _le32(2048), "2048 entries"),
    Lie("vhdx", (192 << 10) + 48, bytes(16), "no region of metadata"),
    Lie("vhdx", (192 << 10) + 64, _HUGE, "the file ends"),
    Lie("vhdx", 256 << 10, b"xxxx", "no table of metadata"),
    Lie("vhdx", (256 << 10) + 10, b"\xff\x07", "within the table"),
    Lie("vhdx", (256 << 10) + 32, bytes(16), "no item of file parameters"),
    Lie("vhdx", (256 << 10) + 64, bytes(16), "no item of the disk's size"),
    Lie("vhdx", (256 << 10) + 1024, _le32(12345), "block of 12345"),
    Lie("vhdx", (256 << 10) + 1028, _le32(2), "differencing"),
    Lie("vhdx", (256 << 10) + 1032, _HUGE, "64 TiB"),
    Lie("luks1", 6, _u16(3), "version 3", qemu=False),  # which is raw for QEMU
    Lie("luks1", 104, _u32(1 << 31), "beyond"),
    Lie("luks2", 8, _u64(0), "header of 0", qemu=False),
    Lie("luks2", 8, _HUGE, "header of 18446744073709551615", qemu=False),
    Lie("luks2", 4096, b"\0", "no segment", qemu=False),
    Lie("luks2", 4096, b"[" * 12288, "does not end", qemu=False),
    Lie("luks2", 4096, b"[" * 12287, "no segment", qemu=False),
    Lie("bochs", 80, _le32(0), "extent of 0"),
    Lie("bochs", 80, _le32(1 << 24), "extent of 16777216"),
    Lie("bochs", 72, _le32(1), "catalogue of 1"),
    Lie("bochs", 68, _le32(1 << 30), "beyond", qemu=False),  # zeros
    Lie("bochs", 88, _HUGE, "too small"),
    Lie("cloop", 128, _u32(0), "block of 0"),
    Lie("cloop", 128, _u32(1000), "block of 1000"),
    Lie("cloop", 128, _u32(128 << 20), "block of 134217728"),
    Lie("cloop", 132, _u32(1 << 24), "table of 16777216"),
    Lie("image.dmg", 1024 + 0x18, _HUGE, "beyond the trailer"),
    Lie("image.dmg", 1024 + 0xD8, _HUGE, "beyond the trailer"),
    Lie("image.dmg", 1024 + 0xE0, _u64(0), "neither"),
    Lie("image.dmg", 1024 + 0x1EC, _HUGE, "9223372036854775807"),
    Lie("ploop", 16, _le32(3), "version 3", qemu=False),  # which is raw for QEMU
    Lie("ploop", 28, _le32(0), "cluster of 0"),
    Lie("ploop", 28, _le32(0xFFFFFFFF), "cluster of 4294967295"),
    Lie("ploop", 32, _le32(0xFFFFFFFF), "beyond"),
    Lie("ploop", 36, _HUGE, "too few"),
    Lie("cow", 1036, _HUGE, "9223372036854775807", qemu=False),  # QEMU gave up this format
)


def luks2_samples() -> tuple[Sample, ...]:
    """Return LUKS2 headers whose JSON is well-formed and says nothing sensible."""
    segment = {"type": "crypt", "offset": "32768", "size": "dynamic"}
    documents: tuple[object, ...] = (
        [],
        {},
        {"segments": []},
        {"segments": {}},
        {"segments": {"0": None}},
        {"segments": {"0": []}},
        {"segments": {"0": {}}},
        {"segments": {"0": {**segment, "offset": 32768}}},
        {"segments": {"0": {**segment, "offset": "-1"}}},
        {"segments": {"0": {**segment, "offset": "9" * 5000}}},
        {"segments": {"0": {**segment, "size": "9" * 5000}}},
        {"segments": {"0": {**segment, "size": 1e308}}},
        {"segments": {"0": {**segment, "size": "all"}}},
        {"segments": {"0": {**segment, "flags": 1}}},
        {"segments": {"0": {**segment, "flags": [1]}}},
        {"segments": {"0": {**segment, "flags": ["backup-final"]}}},
        b'{"segments":{"0":{"offset":Infinity,"size":NaN}}}',
        b"\xff\xfe",
        b'"' + b"9" * 6000,
        b"9" * 6000,
    )
    return tuple(
        Sample(f"luks2-{number}", luks2(document), BY_NAME["luks2"].info, 1 << 20)
        for number, document in enumerate(documents)
    )
