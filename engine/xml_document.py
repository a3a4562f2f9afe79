"""XML that comes from outside: parsed with bounds, and without anything that leads out of it."""

from __future__ import annotations

from lxml import etree

from volary.engine.errors import InvalidDocument

LARGEST = 1 << 20
"""Bytes in the largest document that is read: libvirt's own hold a few thousand."""


def parse(document: str | bytes, root: str) -> etree._Element:
    """Return the root element of a document, which is called `root`.

    No entity is expanded, no DTD is read, nothing is fetched; libxml2 bounds the depth to 256.

    Raises `InvalidDocument` for a document that is not well-formed, too large, has a DOCTYPE, or
    is another one than was asked for.
    """
    # Asked of the text first: 20 MB need not be encoded to be refused.
    if len(document) > LARGEST:
        raise _too_large(len(document))
    try:
        data = document.encode() if isinstance(document, str) else document
    except UnicodeEncodeError as error:
        raise InvalidDocument(f"the document is no text that UTF-8 can hold: {error}") from None
    if len(data) > LARGEST:
        raise _too_large(len(data))
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
    )
    try:
        element = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InvalidDocument(f"the document is not well-formed XML: {error}") from error
    # Asked of the parser, which knows the document's encoding; any DOCTYPE makes an internal DTD.
    if element.getroottree().docinfo.internalDTD is not None:
        raise InvalidDocument("the document has a DOCTYPE, which none of libvirt's has")
    if element.tag != root:
        raise InvalidDocument(
            f"line {element.sourceline}: expected the element <{root}>, found <{element.tag}>"
        )
    return element


def _too_large(size: int) -> InvalidDocument:
    return InvalidDocument(f"the document has {size} bytes; at most {LARGEST} are read")
