"""XML documents: parsed with bounds and without anything that leads out of them, read as libvirt
reads its own, and written as it writes them.

libvirt reads with XPath and strtol(3). What the functions here return for an element that is
missing, empty, there twice or holds others is what XPath's string() gives.
"""

from __future__ import annotations

import re
import threading
from concurrent.futures import Future
from typing import Final

from lxml import etree

from volary.engine.errors import InvalidDocument, MalformedDocument
from volary.engine.shown import shown

LARGEST: Final = 1 << 18
"""Bytes in the largest document that is read: libvirt's own hold a few thousand."""

_VOCABULARY: Final = 1 << 16
"""Bytes of tags that a thread may have met: libvirt's documents hold a tenth of that. lxml keeps
every name that a thread ever parsed until the thread ends, and so a document that would bring more
is parsed in a thread of its own.
"""

_TAGS: Final = re.compile(rb"<(?:[^<]*>[ \t\r\n]*+|[^<]*+)")
"""Whatever lxml keeps of a document is in these: names, namespaces, and the space behind a tag."""

_LONGEST_REASON: Final = 300

_HAS_DOCTYPE: Final = re.compile(
    # Nothing is tried twice, so that a hostile document takes no longer than another one.
    rb"(?:\xef\xbb\xbf)?(?>[ \t\r\n]++|<\?(?>.*?\?>)|<!--(?>.*?-->))*+<!DOCTYPE",
    re.DOTALL,
)
"""A DOCTYPE stands before the root element; anywhere else it is a syntax error."""

_SPACE: Final = " \t\n\v\f\r"  # isspace(3) in the C locale
_LONGEST_INTEGER: Final = 4000  # int() refuses more than 4300 digits
_INTEGERS: Final = {
    # strtol(3): white space before it, but none after it. With base 0, a number says its own.
    0: re.compile(r"[ \t\n\v\f\r]*[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)", re.ASCII),
    8: re.compile(r"[ \t\n\v\f\r]*[+-]?[0-7]+", re.ASCII),
    10: re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+", re.ASCII),
    16: re.compile(r"[ \t\n\v\f\r]*[+-]?(?:0[xX])?[0-9a-fA-F]+", re.ASCII),
}
_SPECIAL: Final = re.compile("[<>&'\"\\x01-\\x08\\x0b\\x0c\\x0e-\\x1f]")
_ESCAPES: Final = str.maketrans(
    {"<": "&lt;", ">": "&gt;", "&": "&amp;", "'": "&apos;", '"': "&quot;"}
    | dict.fromkeys(map(chr, (*range(1, 9), 11, 12, *range(14, 32))), "")
)


class _Parser(threading.local):
    """A thread's own parser: one that threads share is locked while it parses."""

    def __init__(self) -> None:
        self.own = etree.XMLParser(
            # Like libvirt, whatever the document declares; and nothing hides in another encoding.
            encoding="utf-8",
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            remove_comments=True,
            remove_pis=True,
        )
        self._met: set[bytes] = set()
        self._room = _VOCABULARY

    def may_keep(self, data: bytes) -> bool:
        """Return whether this thread may keep what lxml keeps of a document, and count it."""
        tags = _TAGS.findall(data)
        if self._met.issuperset(tags):
            return True
        new = set(tags) - self._met
        size = sum(map(len, new))
        if size > self._room:
            return False
        self._room -= size
        self._met |= new
        return True


_parser = _Parser()


def parse(document: str | bytes, root_name: str) -> etree._Element:
    """Return the root element of a document, which is called `root_name`.

    It is read as UTF-8, as libvirt reads it, whatever encoding it declares. There are no entities
    but XML's own five, nothing is fetched, and libxml2 bounds the depth (to 256 elements).
    Comments and processing instructions are left out.

    Raises `MalformedDocument` for a document that is not well-formed, has more than `LARGEST`
    bytes, or a DOCTYPE, and `InvalidDocument` for another one than was asked for.
    """
    # Asked of the text first: 20 MB need not be encoded to be refused.
    if len(document) > LARGEST:
        raise _too_large()
    try:
        data = document.encode() if isinstance(document, str) else document
    except UnicodeEncodeError as error:
        raise MalformedDocument(f"the document is no text that UTF-8 can hold: {error}") from None
    if len(data) > LARGEST:
        raise _too_large()
    if data and b"<" not in data:
        raise MalformedDocument(
            f"line 1: expected libvirt's document, <{root_name}>, and found {shown(document)}; "
            "give that, or a specification"
        )
    if b"\0" in data:
        raise MalformedDocument("the document has a NUL character; write it as UTF-8")
    # Before the parser sees it: libxml2 expands entities in attributes, whatever it is told.
    if b"<!DOCTYPE" in data and _HAS_DOCTYPE.match(data):
        raise MalformedDocument("the document has a DOCTYPE; leave it out, and write no entities")
    root = _parse(data) if _parser.may_keep(data) else _parse_apart(data)
    if root.tag != root_name and local_name(root) != root_name:
        raise InvalidDocument(
            f"{at(root)}: expected the element <{root_name}>, found <{str(root.tag)[:64]}>"
        )
    return root


def _parse(data: bytes) -> etree._Element:
    try:
        return etree.fromstring(data, _parser.own)
    except etree.XMLSyntaxError as error:
        # libxml2's words, which end with line and column, and may hold a name from the document.
        why = error.msg if len(error.msg) <= _LONGEST_REASON else f"line {error.lineno}"
        raise MalformedDocument(f"the document is not well-formed XML: {why}") from None


def _parse_apart(data: bytes) -> etree._Element:
    parsed: Future[etree._Element] = Future()

    def parse_here() -> None:
        try:
            parsed.set_result(_parse(data))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is wanted
            parsed.set_exception(error)

    # No executor: one takes nothing any more while the interpreter ends.
    try:
        threading.Thread(target=parse_here, name="volary-xml", daemon=True).start()
    except RuntimeError:  # the process has all the threads that it can have
        parse_here()
    return parsed.result()


def _too_large() -> MalformedDocument:
    return MalformedDocument(f"the document has more than {LARGEST} bytes; no larger one is read")


def at(element: etree._Element) -> str:
    """Return where an element stands, to begin an error's text with."""
    return f"line {element.sourceline}"


def local_name(element: etree._Element) -> str:
    """Return an element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def string_value(element: etree._Element) -> str:
    """Return an element's text, that of the elements in it included: XPath's string()."""
    return "".join(map(str, element.itertext())) if len(element) else element.text or ""


def text(parent: etree._Element, path: str) -> str | None:
    """Return the text of the first element at `path`, such as "target/path"; None if there is no
    such element, or it is empty.
    """
    element = parent.find(path)
    return None if element is None else string_value(element) or None


def first_attribute(parent: etree._Element, path: str, name: str) -> str | None:
    """Return the first attribute `name` that an element at `path` has; None if none has one, or
    it is empty: XPath's string(./PATH/@NAME), by which libvirt reads most attributes.
    """
    for element in parent.iterfind(path):
        value = element.get(name)
        if value is not None:
            return value or None
    return None


def attribute(element: etree._Element, name: str) -> str | None:
    """Return an attribute, "" if it is empty; like libxml2's xmlGetProp, which libvirt reads the
    others by, the first of any namespace.
    """
    for key in element.keys():  # noqa: SIM118 - an element is no mapping
        # Not items(): lxml looks for the value of each among all.
        if key == name or str(key).endswith("}" + name):
            return element.get(key)
    return None


def yes_or_no(element: etree._Element, name: str) -> bool | None:
    """Return an attribute that says "yes" or "no"; None if it is not there.

    Raises `InvalidDocument` for any other value.
    """
    value = attribute(element, name)
    if value is None:
        return None
    if value not in ("yes", "no"):
        raise InvalidDocument(
            f"{at(element)}: <{local_name(element)}> has {name}={shown(value)}; give 'yes' or 'no'"
        )
    return value == "yes"


def to_integer(value: str, base: int = 10) -> int | None:
    """Return the integer that strtol(3) reads in the whole of `value`, or None; `base` is 0, 8, 10
    or 16. It has no bounds: check them.
    """
    if base == 10 and value.isdecimal() and value.isascii() and len(value) < _LONGEST_INTEGER:  # noqa: PLR2004 - the usual one
        return int(value)
    if len(value) > _LONGEST_INTEGER or not _INTEGERS[base].fullmatch(value):
        return None
    if base == 0:  # int(value, 0) wants "0o10" for C's "010"
        base = 16 if "x" in value.lower() else 8 if value.lstrip(_SPACE + "+-")[0] == "0" else 10
    return int(value, base)


def escape(value: str) -> str:
    """Return text as libvirt writes it between tags and in single-quoted attributes."""
    return value.translate(_ESCAPES) if _SPECIAL.search(value) else value
