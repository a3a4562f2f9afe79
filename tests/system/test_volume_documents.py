"""Volume documents, given to libvirt and to ours: the same is taken, refused and written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.system.own_libvirtd import SystemLibvirtd
from tests.system.volume_corpus import CORPUS, VolumeDocument

import volary
from volary.engine import volume_reader, volume_writer
from volary.engine.errors import VolaryError

Answer = tuple[int, str]
"""An error's code and nothing, or 0 and a document."""

_NO_TARGET = ("iscsi-direct", "rbd", "sheepdog", "gluster")
_TARGETS = {"logical": "/dev/vg", "zfs": "/dev/zvol/tank"} | dict.fromkeys(_NO_TARGET, "(null)")
"""What libvirt makes of the target, where it does not take what it is given."""

_SOURCES = {
    "fs": "<device path='/dev/x'/>",
    "netfs": "<host name='h'/><dir path='/d'/>",
    "logical": "<name>vg</name>",
    "disk": "<device path='/dev/y'/>",
    "scsi": "<adapter type='scsi_host' name='scsi_host0'/>",
    "iscsi": "<host name='h'/><device path='iqn.2001-01.org.example:t'/>",
    "iscsi-direct": "<host name='h'/><device path='iqn.2001-01.org.example:t'/>"
    "<initiator><iqn name='iqn.2001-01.org.example:i'/></initiator>",
    "rbd": "<host name='h'/><name>r</name>",
    "sheepdog": "<host name='h'/><name>r</name>",
    "gluster": "<host name='h'/><name>r</name><dir path='/'/>",
    "zfs": "<name>tank</name>",
    "vstorage": "<name>cluster</name>",
}

READ_OTHERWISE = {
    "entity": "a DOCTYPE is refused: nothing that a document declares is ever expanded",
    "doctype": "a DOCTYPE is refused: nothing that a document declares is ever expanded",
    "backing-gives-the-capacity": "the test driver alone wants a capacity then",
    "owner-largest": "libvirt writes -2, which it does not read",
    "prefix-not-declared": "lxml refuses what breaks the rules of XML's namespaces",
    "valid": "libvirt 9.0.0 refuses whatever it has validated: its reader knows no such flag",
}
"""What is not as libvirt's test driver has it, and why."""


@pytest.fixture(scope="module")
def create() -> Iterator[Callable[[VolumeDocument, str], Answer]]:
    """Return what creates a volume in a pool of libvirt's test driver, and deletes it."""
    libvirt = pytest.importorskip("libvirt", reason="libvirt-python is missing")
    libvirt.registerErrorHandler(lambda *_: None, None)  # it would write every refusal to stderr
    connection = libvirt.open("test:///default")
    pools: dict[str, Any] = {}

    def pool(type_: str) -> Any:
        if type_ not in pools:
            target = "" if type_ in _NO_TARGET else f"<target><path>/{type_}</path></target>"
            pools[type_] = connection.storagePoolCreateXML(
                f"<pool type='{type_}'><name>{type_}</name>"
                f"<source>{_SOURCES.get(type_, '')}</source>{target}</pool>"
            )
        return pools[type_]

    def create(document: VolumeDocument, type_: str) -> Answer:
        flags = document.flags & ~1  # the test driver has no other flag than VALIDATE
        try:
            volume = pool(type_).createXML(document.text, flags)
        except libvirt.libvirtError as error:
            return int(error.get_error_code()), ""
        written = str(volume.XMLDesc())
        volume.delete()
        return 0, written

    yield create
    connection.close()


def _ours(document: VolumeDocument, type_: str) -> Answer:
    """Read and write a document, with what the test driver makes up itself."""
    try:
        volume = volume_reader.read(
            document.text,
            type_,
            capacity_needed=True,
            validate="validate" in document.words,
        )
    except VolaryError as error:
        return int(error.code), ""
    path = f"{_TARGETS.get(type_, f'/{type_}')}/{volume.name}"
    volume.key = volume.target.path = path
    volume.target.nocow = False  # libvirt does not write it
    if volume.allocation is None:
        volume.allocation = volume.capacity
    volume.own = {}
    return 0, volume_writer.write(volume)


@pytest.mark.parametrize(
    "document", [d for d in CORPUS.values() if "real" not in d.words], ids=lambda d: d.name
)
def test_what_libvirt_reads_is_read_and_written_alike(
    create: Callable[[VolumeDocument, str], Answer], document: VolumeDocument
) -> None:
    differing = [
        type_ for type_ in document.pools if create(document, type_) != _ours(document, type_)
    ]
    if document.name in READ_OTHERWISE:
        assert differing == list(document.pools), "it is listed as different, and is not"
    else:
        for type_ in differing:
            assert _ours(document, type_) == create(document, type_)


_PASSPHRASE = b"correct horse"
_SECRET = (
    "<secret ephemeral='no' private='no'><uuid>5f2b8d0a-8d4f-4f0c-9b0e-0d6a3c1c2f11</uuid>"
    "<usage type='volume'><volume>/volary/luks</volume></usage></secret>"
)
_OURS_ALONE = re.compile(r"  <key>.*</key>\n|(?<=time>)[0-9.]+")
"""What is a host's own: keys and times."""

_BLOCK = 4096


@dataclass(frozen=True)
class Difference:
    """A difference from libvirt, and its reason.

    codes: ours and libvirt's, 0 for a success.
    elements: those that differ.
    """

    reason: str
    codes: tuple[int, int] = (0, 0)
    elements: frozenset[str] = frozenset()


def _difference(reason: str, *elements: str, codes: tuple[int, int] = (0, 0)) -> Difference:
    return Difference(reason, codes, frozenset(elements))


_QCOW2 = _difference(
    "a qcow2 is written without qemu-img, with its tables elsewhere in the file",
    "allocation",
    "physical",
)
_KNOWN_BEFORE = _difference(
    "libvirt has qemu-img fail, which is an internal error; here it is known before", codes=(8, 1)
)
_NOT_MADE = _difference(
    "libvirt has qemu-img fail, which is an internal error; here it is known to have no maker",
    codes=(8, 1),
)
_DOCTYPE = _difference("nothing that a document declares is ever expanded", codes=(35, 0))
_NAME = _difference("a name that is none is no state that the pool is in", codes=(8, 55))
_RAW_ENCRYPTION = _difference("it is unsupported, and nothing internal", codes=(67, 1))
_NOCOW = _difference("no file system but btrfs has it, and none of them needs it", codes=(0, 38))

CREATED_OTHERWISE: dict[str, Difference] = {
    "allocation-of-a-qcow2": _QCOW2,
    "backing-empty": _QCOW2,
    "backing-gives-the-capacity": _QCOW2,
    "backing-missing-file": _difference("it is no volume of the pool", codes=(50, 38)),
    "backing-of-a-vdi": _KNOWN_BEFORE,
    "backing-of-a-vmdk": _KNOWN_BEFORE,
    "backing-of-another-format": _difference(
        "the volume that it is to be backed by is looked at before", codes=(55, 1)
    ),
    "backing-qcow2": _QCOW2,
    "backing-raw": _QCOW2,
    "backing-relative": _QCOW2,
    "backing-without-format": _QCOW2,
    "backing-without-path": _QCOW2,
    "capacity-zero": _difference("a raw volume has at least one byte", codes=(8, 0)),
    "cluster-size": _QCOW2,
    "cluster-size-empty": _QCOW2,
    "cluster-size-in-bytes": _QCOW2,
    "cluster-size-not-a-power": _KNOWN_BEFORE,
    "cluster-size-of-a-vdi": _KNOWN_BEFORE,
    "cluster-size-too-large": _KNOWN_BEFORE,
    "cluster-size-too-small-for-extended-l2": _KNOWN_BEFORE,
    "cluster-size-zero": _QCOW2,
    "compat-0.10": _QCOW2,
    "compat-1.1": _QCOW2,
    "compat-empty": _QCOW2,
    "compat-negative": _KNOWN_BEFORE,
    "compat-unknown": _KNOWN_BEFORE,
    "directory-encryption": _difference(
        "libvirt asks for the secret and encrypts nothing; here a passphrase that nothing is "
        "encrypted with is refused",
        codes=(8, 0),
    ),
    "doctype": _DOCTYPE,
    "entity": _DOCTYPE,
    "everything": _QCOW2,
    "extended-l2": _QCOW2,
    "features-both": _QCOW2,
    "features-empty": _QCOW2,
    "features-empty-of-0.10": _QCOW2,
    "features-twice": _QCOW2,
    "format-bochs": _NOT_MADE,
    "format-cloop": _NOT_MADE,
    "format-cow": _NOT_MADE,
    "format-dmg": _NOT_MADE,
    "format-fat": _NOT_MADE,
    "format-iso": _difference("qemu-img writes its first block", "allocation"),
    "format-ploop": _NOT_MADE,
    "format-qcow": _difference("nobody makes one any more: qcow2 is its successor", codes=(8, 0)),
    "format-qcow2": _QCOW2,
    "format-vhd": _NOT_MADE,
    "format-vmdk": _difference(
        "ours is copied into a file without a name, which takes a block more", "allocation"
    ),
    "format-vpc": _difference(
        "the capacity is what was asked for, and not that of the next geometry", "capacity"
    ),
    "lazy-refcounts": _QCOW2,
    "luks-cipher-unknown": _difference(
        "libvirt calls qemu-img's failure an internal error", codes=(9, 1)
    ),
    "metadata-of-a-qcow2": _difference(
        "of its data, which is a hole, no last byte is written", "allocation"
    ),
    "name-dot-dot": _NAME,
    "name-kept-for-ourselves": _difference("files that are being made have it", codes=(8, 0)),
    "name-of-256-bytes": _difference("it is known before, and not a host's error", codes=(8, 38)),
    "name-with-newline": _difference("it would end a line of a list or a log", codes=(8, 0)),
    "name-with-slash": _NAME,
    "nocow": _QCOW2,
    "nocow-of-a-raw": _NOCOW,
    "own-namespace": _difference("it says how to allocate", "allocation"),
    "owner-largest": _difference("libvirt writes -2, which it does not read", "owner"),
    "prefix-not-declared": _difference(
        "lxml refuses what breaks the rules of XML's namespaces", codes=(35, 0)
    ),
    "raw-encryption-luks2": _RAW_ENCRYPTION,
    "raw-encryption-qcow": _RAW_ENCRYPTION,
    "targets-two": _NOCOW,
    "valid": _difference(
        "libvirt 9.0.0 refuses whatever it has validated: its reader knows no such flag",
        codes=(0, 8),
    ),
}
"""What is not as libvirt makes it in a directory."""


class _Pools:
    """A pool of libvirt's and one of ours, on two directories of the same file system."""

    def __init__(self, libvirtd: SystemLibvirtd, conn: volary.Connection, folder: Path) -> None:
        self._error = libvirtd.libvirt.libvirtError
        self._folders = (folder / "theirs", folder / "ours")
        for each in self._folders:
            each.mkdir()
            with open(each / "base.raw", "wb") as file:
                file.truncate(1 << 20)
        self._theirs = libvirtd.connection.storagePoolCreateXML(
            "<pool type='dir'><name>documents</name>"
            f"<target><path>{self._folders[0]}</path></target></pool>"
        )
        self._ours = conn.create_pool(volary.PoolSpec("documents", target=self._folders[1]))
        base = (
            "<volume><name>base.qcow2</name><capacity unit='MiB'>1</capacity>"
            "<target><format type='qcow2'/></target></volume>"
        )
        self._theirs.createXML(base)
        self._ours.create_volume(base)

    def close(self) -> None:
        self._theirs.destroy()
        self._ours.stop()

    def both(self, document: VolumeDocument) -> tuple[Answer, Answer]:
        """Return our answer and libvirt's; they take a processor each where there are two."""
        with ThreadPoolExecutor(1) as aside:
            theirs = aside.submit(self._create_theirs, document)
            return self._create_ours(document), theirs.result()

    def _create_theirs(self, document: VolumeDocument) -> Answer:
        folder = self._folders[0]
        try:
            volume = self._try_theirs(document.on(folder), document.flags)
            # It does not sync: until the kernel has, it does not know how many blocks there are.
            fd = os.open(volume.path(), os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            self._theirs.refresh()  # or else it tells what was asked for
            written = volume.XMLDesc()
            volume.delete()
        except self._error as error:
            return int(error.get_error_code()), ""
        return 0, self._plain(written, folder)

    def _try_theirs(self, document: str, flags: int) -> Any:
        while True:
            try:
                return self._theirs.createXML(document, flags)
            except self._error as error:
                # A defect of QEMU 7.2, which libvirt does not try again for, as we do.
                if "Unable to get accurate CPU usage" not in str(error):
                    raise

    def _create_ours(self, document: VolumeDocument) -> Answer:
        folder = self._folders[1]
        secret = _PASSPHRASE if re.search("'/volary/luks'|='5f2b8d0a", document.text) else None
        try:
            flags = volary.VolumeCreate(document.flags)
            volume = self._ours.create_volume(document.on(folder), flags, secret=secret)
            written = volume.xml()
            volume.delete()
        except volary.VolaryError as error:
            return int(error.code), ""
        return 0, self._plain(written, folder)

    def _plain(self, written: str, folder: Path) -> str:
        return _OURS_ALONE.sub("", written).replace(str(folder), "@DIR@")


@pytest.fixture(scope="module")
def pools(
    system_libvirtd: SystemLibvirtd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_Pools]:
    folder = tmp_path_factory.mktemp("documents")
    libvirt = system_libvirtd.libvirt
    keeper = libvirt.open(system_libvirtd.uri.replace("storage+", "secret+"))
    keeper.secretDefineXML(_SECRET).setValue(_PASSPHRASE)
    with volary.open(state_dir=folder / "state") as conn:
        both = _Pools(system_libvirtd, conn, folder)
        yield both
        both.close()
    keeper.close()


@pytest.mark.parametrize(
    "document",
    [d for d in CORPUS.values() if "dir" in d.pools and "parse" not in d.words],
    ids=lambda d: d.name,
)
def test_what_libvirt_creates_is_created_and_described_alike(
    pools: _Pools, document: VolumeDocument
) -> None:
    ours, theirs = pools.both(document)
    if document.name not in CREATED_OTHERWISE:
        assert ours == (theirs[0], _where_blocks_are(theirs[1], ours[1]))
        return
    listed = CREATED_OTHERWISE[document.name]
    assert (ours[0], theirs[0]) == listed.codes
    if listed.codes == (0, 0):
        assert _elements_that_differ(ours[1], theirs[1]) == listed.elements


def _where_blocks_are(one: str, other: str) -> str:
    """Return a document with the other one's allocation, if they are a block apart: where a file's
    pieces come to lie decides whether its map has a block of its own (ext4's extent tree).
    """
    found = [re.search(r"<allocation unit='bytes'>(\d+)<", each) for each in (one, other)]
    sizes = [int(match[1]) for match in found if match is not None]
    if len(sizes) != len(found) or abs(sizes[0] - sizes[1]) > _BLOCK:
        return one
    return one.replace(f"'bytes'>{sizes[0]}</allocation>", f"'bytes'>{sizes[1]}</allocation>")


def _elements_that_differ(one: str, other: str) -> frozenset[str]:
    lines = set(one.splitlines()) ^ set(other.splitlines())
    return frozenset(re.findall(r"<(\w+)", "\n".join(lines)))


def test_every_difference_is_told_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs/differences/volume-documents.md").read_text()
    listed = READ_OTHERWISE.keys() | CREATED_OTHERWISE.keys()
    assert sorted(name for name in listed if f"`{name}`" not in page) == []
