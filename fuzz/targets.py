"""What is fuzzed: each recogniser by itself, and all of them together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.engine.formats.header_lies import LIES, luks2_samples
from tests.engine.formats.image_corpus import SAMPLES

from volary.engine.formats import cloop_header, iso_header, vdi_header
from volary.engine.formats.probe import BOUND, Probe
from volary.engine.formats.recognise import FORMATS, recognise

WHOLE = "whole"
"""The target that finds out by itself which format it is."""

TARGETS = (*sorted(FORMATS - {"raw"}), WHOLE)

_PART = 512
_HEAD = 40 << 10
_FAR = {"vhdx": (192 << 10, 64 << 10), "iso": (32 << 10, _PART)}
"""Formats whose headers begin far behind: where, and how far apart their two parts are. An input
has only the two parts: the fuzzer would have to carry along what is before and between them."""

_MAGICS = {
    "bochs": (0, b"Bochs Virtual HD Image\0".ljust(32) + b"Redolog\0".ljust(16) + b"Growing\0"),
    "cloop": (0, cloop_header.MAGIC),
    "cow": (0, b"OOOM\0\0\0\2"),
    "iso": (iso_header.IDENTIFIER_AT, iso_header.IDENTIFIER),
    "luks": (0, b"LUKS\xba\xbe\0"),
    "qcow": (0, b"QFI\xfb\0\0\0\1"),
    "qcow2": (0, b"QFI\xfb\0\0\0"),
    "qed": (0, b"QED\0"),
    "vdi": (vdi_header.MAGIC_AT, vdi_header.MAGIC),
    "vhdx": (0, b"vhdxfile"),
}
"""What makes a file one of a format, where there is one way: the fuzzer need not find it out."""


def seeds(target: str) -> Iterator[bytes]:
    """Give the inputs that the fuzzer begins with."""
    for sample in (*SAMPLES, *luks2_samples()):
        if target in (sample.info.format, WHOLE):
            yield _pack(target, sample.data)
    for lie in LIES:
        if target in (lie.format, WHOLE):
            yield _pack(target, lie.data)


def try_one(target: str, data: bytes) -> None:
    """Recognise one input; raise AssertionError where the answer is not as promised."""
    said = None if target == WHOLE else target
    content, size = _unpack(target, data)
    with _file(content, size) as fd:
        probe = Probe(fd, size, "image.dmg")
        info = recognise(probe, format=said)
        names = [info.data_file, info.backing.name if info.backing else None]
        assert probe.taken <= BOUND, probe.taken
        assert said in (None, info.format), info
        assert 0 <= info.capacity < 2**63, info
        assert info.cluster_size is None or 0 < info.cluster_size < 2**63, info
        assert all(name is None or (name and "\0" not in name) for name in names), info
        assert info.problem is None or info.problem.isprintable(), info


def _pack(target: str, data: bytes) -> bytes:
    if target in _FAR:
        start, apart = _FAR[target]
        data = data[start : start + _PART] + data[start + apart :][:_HEAD]
    return b"\0" + data[:_HEAD]


def _unpack(target: str, data: bytes) -> tuple[bytes, int]:
    """Return the file's content and its size, which the first byte makes larger."""
    exponent, content = (data[0] & 63 if data else 0), bytearray(data[1:])
    if target in _FAR:
        start, apart = _FAR[target]
        content = bytearray(start) + content[:_PART].ljust(apart, b"\0") + content[_PART:]
    if target in _MAGICS:
        at, magic = _MAGICS[target]
        content[at : at + len(magic)] = magic
    return bytes(content), len(content) + (1 << exponent if 9 <= exponent < 62 else 0)


@contextmanager
def _file(content: bytes, size: int) -> Iterator[int]:
    fd = os.memfd_create("image")
    try:
        os.write(fd, content)
        os.ftruncate(fd, size)
        yield fd
    finally:
        os.close(fd)


def entry(target: str) -> Callable[[bytes], None]:
    """Return the function that the fuzzer calls with each input."""
    return lambda data: try_one(target, data)
