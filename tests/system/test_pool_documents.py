"""libvirt and we read the same pool documents, and write the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.system.own_libvirtd import SystemLibvirtd

from volary.engine.errors import NotInSchema, VolaryError
from volary.engine.pool_capabilities import write_pool_capabilities
from volary.engine.pool_document import read_pool_document, write_pool_document
from volary.engine.pool_sources_document import read_source_document, write_sources_document
from volary.engine.pool_type import POOL_TYPES

CORPUS = Path(__file__).parent.parent / "corpus" / "pools"
NAMES = sorted(path.stem for path in CORPUS.iterdir())
PAGE = Path(__file__).parent.parent.parent / "docs" / "differences" / "pool-documents.md"

EMPTY = "it is empty, and names nothing"
CONTROL = "control characters do not survive being written and read, or confuse whoever lists them"
DOCTYPE = "no entity is expanded, and no DTD is read"
GROUP = "the target would lie outside the directory of the volume groups"
NAMESPACES = "lxml refuses what breaks the rules of XML's namespaces"
PORT = "there is no such port"
DIFFERENCES = {
    "declared-nonsense": "the declared encoding is not looked at: a document is UTF-8",
    "doctype-alone": DOCTYPE,
    "entity-of-its-own": DOCTYPE,
    "fc-host-empty-parent": EMPTY,
    "fs-device-empty-path": EMPTY,
    "fs-format-btrfs": "Volary makes and mounts btrfs; libvirt does not know it",
    "fs-mount-option-empty-name": EMPTY,
    "iscsi-secret-usage-empty": EMPTY,
    "logical-name-leads-out": GROUP,
    "name-dot-dot": "a name is one path component, since files are named after it",
    "name-of-two-prefixes": NAMESPACES,
    "name-of-our-own-files": "such names are those of Volary's own files",
    "name-with-tab": CONTROL,
    "namespace-is-no-uri": NAMESPACES,
    "netfs-empty-host": EMPTY,
    "netfs-port-negative": PORT,
    "netfs-port-too-large": PORT,
    "permissions-label-two-lines": CONTROL,
    "permissions-owner-huge": "libvirt writes it as a negative number, which it does not read",
    "prefix-not-declared": NAMESPACES,
    "scsi-host-empty-name": EMPTY,
    "scsi-host-name-special": "libvirt does not escape it, and what it writes is no XML",
    "target-indented": CONTROL,
    "target-newline-in-it": CONTROL,
    "target-relative": "an engine has no working directory that it would be relative to",
}
"""What differs, and why; the page of differences says the same."""

UNREADABLE_BY_TEST_DRIVER = frozenset({"name-with-newline"})
"""libvirt's test driver leaves out a check that its daemon makes."""

_SIZE = re.compile(r"<(capacity|allocation|available) unit='bytes'>([0-9]+)<")
_NAMESPACED = "libvirt.org/schemas/storagepool/"


@dataclass(frozen=True)
class Outcome:
    """What became of a document: libvirt's error code, 0 for none, and what was written."""

    code: int
    written: str


@pytest.fixture(scope="module")
def test_driver() -> Iterator[Any]:
    """libvirt in this process: it has every type of pool, and no namespaces."""
    libvirt = pytest.importorskip(
        "libvirt", reason="libvirt-python is missing: install the package libvirt-dev and build it"
    )
    libvirt.registerErrorHandler(lambda *_: None, None)
    connection = libvirt.open("test:///default")
    yield connection
    connection.close()


def document(name: str) -> str:
    return (CORPUS / f"{name}.xml").read_bytes().decode()


def theirs(connection: Any, text: str, flags: int = 0) -> Outcome:
    """Define the pool, ask for its document, and undefine it."""
    import libvirt  # noqa: PLC0415 - where it is missing, the tests are skipped

    try:
        pool = connection.storagePoolDefineXML(text, flags)
    except libvirt.libvirtError as error:
        return Outcome(error.get_error_code(), error.get_error_message())
    written: str = pool.XMLDesc(0)
    pool.undefine()
    return Outcome(0, written)


def ours(text: str, like: str, *, validate: bool = False) -> Outcome:
    """Read and write; the host's own, sizes and UUIDs made, are taken from what libvirt wrote."""
    try:
        spec = read_pool_document(text, validate=validate)
    except VolaryError as error:
        return Outcome(error.code, str(error))
    made = re.search("<uuid>(.*)</uuid>", like)
    if spec.uuid is None and made:
        spec = replace(spec, uuid=UUID(made[1]))
    sizes: Any = {name: int(size) for name, size in _SIZE.findall(like)}
    return Outcome(0, write_pool_document(spec, **sizes))


def same(name: str, text: str, their: Outcome) -> bool:
    our = ours(text, their.written)
    if their.code or our.code:
        return our.code == their.code
    return our.written == their.written


def check(name: str, connection: Any) -> None:
    text = document(name)
    their = theirs(connection, text)
    if name in DIFFERENCES:
        assert not same(name, text, their), "the difference is no more: take it off the list"
    elif their.code or ours(text, their.written).code:
        our = ours(text, their.written)
        assert our.code == their.code, (our.written, their.written)
    else:
        assert ours(text, their.written).written == their.written


@pytest.mark.parametrize("name", NAMES)
def test_libvirts_daemon_says_the_same(name: str, system_libvirtd: SystemLibvirtd) -> None:
    if "missing backend" in theirs(system_libvirtd.connection, document(name)).written:
        assert name.startswith(("sheepdog", "vstorage"))  # Debian's has none of them
        return
    check(name, system_libvirtd.connection)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in NAMES
        if _NAMESPACED not in document(name) and name not in UNREADABLE_BY_TEST_DRIVER
    ],
)
def test_libvirts_test_driver_says_the_same(name: str, test_driver: Any) -> None:
    check(name, test_driver)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_and_written_the_same(name: str) -> None:
    first = ours(document(name), "")
    if not first.code:
        assert ours(first.written, "") == first


@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_names_the_line(name: str) -> None:
    our = ours(document(name), "")
    if our.code:
        assert re.search(r"\bline [0-9]+\b", our.written) or "DOCTYPE" in our.written, our.written


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(DIFFERENCES)))
def test_validation_refuses_nothing_that_libvirts_schema_has(
    name: str, system_libvirtd: SystemLibvirtd
) -> None:
    their = theirs(system_libvirtd.connection, document(name), flags=1)
    our = ours(document(name), "", validate=True)
    if not their.code:
        assert not our.code, our.written
    elif our.code == NotInSchema.code and "missing backend" not in their.written:
        assert their.code == NotInSchema.code, their.written


def test_the_page_of_differences_names_each_of_them() -> None:
    page = PAGE.read_text()
    for name, why in DIFFERENCES.items():
        assert f"`{name}`" in page
        assert why in " ".join(page.split()), name


@pytest.mark.parametrize("depth", [255, 257])
def test_documents_may_be_nested_as_deep_as_libvirts(depth: int, test_driver: Any) -> None:
    deep = document("dir-smallest").replace("</pool>", "<a>" * depth + "</a>" * depth + "</pool>")
    assert ours(deep, "").code == theirs(test_driver, deep).code


def test_a_large_document_that_libvirt_reads_is_refused(test_driver: Any) -> None:
    large = document("dir-smallest").replace("</pool>", f"<!--{'x' * 2_000_000}--></pool>")
    assert not theirs(test_driver, large).code
    assert ours(large, "").code


def test_the_capabilities_are_libvirts(system_libvirtd: SystemLibvirtd) -> None:
    supported = set(POOL_TYPES) - {"sheepdog", "vstorage"}
    theirs = system_libvirtd.connection.getStoragePoolCapabilities()
    assert write_pool_capabilities(supported) == theirs


@pytest.mark.parametrize(
    ("kind", "where"), [("logical", "<source/>"), ("netfs", "<source><host name='nas'/></source>")]
)
def test_found_sources_are_written_as_libvirt_writes_them(
    kind: str, where: str, test_driver: Any
) -> None:
    found: str = test_driver.findStoragePoolSources(kind, where, 0)
    sources = re.findall("<source>.*?</source>", found, re.DOTALL)
    assert len(sources) >= 1
    assert write_sources_document(read_source_document(text, kind) for text in sources) == found


@pytest.mark.parametrize(
    "where",
    [
        "<source>",
        "<pool/>",
        "<source><host/></source>",
        "<source><host name='nas' port='x'/></source>",
        "<source><host name='nas'/><format type='ext4'/></source>",
    ],
)
def test_a_source_to_search_in_is_refused_with_libvirts_code(where: str, test_driver: Any) -> None:
    import libvirt  # noqa: PLC0415 - where it is missing, the test is skipped

    with pytest.raises(libvirt.libvirtError) as theirs:
        test_driver.findStoragePoolSources("netfs", where, 0)
    with pytest.raises(VolaryError) as ours:
        read_source_document(where, "netfs")
    assert ours.value.code == theirs.value.get_error_code()
