from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.engine.hostile_xml import READ, REFUSED

from volary.engine.errors import InvalidDocument, MalformedDocument
from volary.engine.pool_document import read_pool_document
from volary.engine.pool_spec import PoolSpec
from volary.engine.xml_document import (
    LARGEST,
    attribute,
    escape,
    first_attribute,
    parse,
    string_value,
    text,
    to_integer,
    yes_or_no,
)


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_document_is_refused(name: str) -> None:
    with pytest.raises(InvalidDocument) as refusal:
        read_pool_document(REFUSED[name])
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("name", READ)
def test_nothing_that_a_document_points_at_is_read(name: str) -> None:
    assert read_pool_document(READ[name]) == PoolSpec("a", target="/a")


def test_the_largest_document_is_read() -> None:
    begin, end = "<pool>", "</pool>"
    document = begin + "x" * (LARGEST - len(begin + end)) + end
    assert len(string_value(parse(document, "pool"))) == LARGEST - len(begin + end)
    with pytest.raises(MalformedDocument, match=f"more than {LARGEST} bytes"):
        parse(document + "\n", "pool")


def test_text_is_what_xpath_says() -> None:
    root = parse("<a><b/><b>1<!-- c --><![CDATA[<]]><c>2<d>3</d></c>4</b><e> </e></a>", "a")
    assert text(root, "b") is None
    assert string_value(root) == "1<234 "
    assert text(root, "e") == " "
    assert text(root, "f") is None
    assert text(root, "b/c") == "23"


def test_attributes_are_found_as_libvirt_finds_them() -> None:
    root = parse("<a xmlns:x='u'><b/><b c=''/><b c='1' x:d='2'/><b x:c='3' c='4'/></a>", "a")
    empty, last = root[1], root[2]
    assert first_attribute(root, "b", "c") is None
    assert first_attribute(root, "b", "d") is None
    assert attribute(empty, "c") == ""
    assert attribute(empty, "d") is None
    assert attribute(last, "d") == "2"
    assert attribute(root[3], "c") == "3"


def test_yes_or_no_is_nothing_else() -> None:
    root = parse("<a b='yes' c='no' d='Yes'/>", "a")
    assert [yes_or_no(root, name) for name in "bce"] == [True, False, None]
    with pytest.raises(InvalidDocument, match="line 1: <a> has d='Yes'; give 'yes' or 'no'"):
        yes_or_no(root, "d")


@pytest.mark.parametrize(
    ("value", "base", "integer"),
    [
        ("10", 10, 10),
        (" \t\n\v\f\r+010", 10, 10),
        ("-1", 10, -1),
        ("010", 8, 8),
        ("8", 8, None),
        ("0x1F", 16, 31),
        ("ff", 16, 255),
        ("0x1f", 0, 31),
        (" -0X1f", 0, -31),
        ("+017", 0, 15),
        ("0", 0, 0),
        ("10", 0, 10),
        ("08", 0, None),
        ("0x", 0, None),
        ("", 10, None),
        ("1 ", 10, None),
        ("1_0", 10, None),
        ("1e2", 10, None),
        ("٣", 10, None),
        ("0" * 5000, 10, None),
    ],
)
def test_integers_are_strtols(value: str, base: int, integer: int | None) -> None:
    assert to_integer(value, base) == integer


def test_escaping_is_libvirts() -> None:
    assert escape("plain / text, ü") == "plain / text, ü"
    assert escape("<a>&'b'\"\t\n") == "&lt;a&gt;&amp;&apos;b&apos;&quot;\t\n"
    assert escape("\x01a\x1f") == "a"


def test_the_root_is_the_one_that_was_asked_for() -> None:
    assert parse("<x:a xmlns:x='u'/>", "a").tag == "{u}a"
    with pytest.raises(InvalidDocument, match="line 2: expected the element <a>, found <b>"):
        parse("\n<b/>", "a")


def test_threads_read_at_the_same_time() -> None:
    documents = [f"<a><b>{number}</b></a>" for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        roots = list(threads.map(lambda document: parse(document, "a"), documents))
    assert [text(root, "b") for root in roots] == [str(number) for number in range(200)]


LONG = "y" * 200


def _resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize(
    "of",
    [
        lambda number: "".join(f"<a{number}x{i}{LONG}/>" for i in range(99)),
        lambda number: "<a" + "".join(f" a{number}x{i}{LONG}=''" for i in range(99)) + "/>",
        lambda number: "".join(f"<b c='>' xmlns='u:{number}x{i}{LONG}'/>" for i in range(99)),
        lambda number: "".join(f"<?a{number}x{i}{LONG} ?>" for i in range(99)),
        lambda number: f"<a{number}{LONG * 100}",
    ],
    ids=["elements", "attributes", "namespaces", "instructions", "unfinished"],
)
def test_documents_with_ever_new_names_take_no_memory(of: Callable[[int], str]) -> None:
    def read(numbers: range) -> None:
        for number in numbers:
            try:
                parse(f"<pool>{of(number)}</pool>", "pool")
            except MalformedDocument:
                assert "<pool><a" in f"<pool>{of(number)}", "only the unfinished one is none"

    read(range(200))  # until there is room for no more
    before = _resident()
    read(range(200, 600))
    assert _resident() - before < 2 << 20


def test_a_document_is_read_while_the_interpreter_ends() -> None:
    program = (
        "import atexit, volary.engine.xml_document as x\n"
        "atexit.register(lambda: print(len(x.parse('<a>' + '<b/>' * 20000 + '</a>', 'a'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("20000\n", "")
