"""XML that is meant to hurt whoever reads it."""

from __future__ import annotations

from typing import Final

_POOL = "<pool type='dir'><name>a</name><target><path>/a</path></target>{}</pool>"
_ENTITIES = "<!ENTITY x0 'xxxxxxxxxx'>" + "".join(
    f"<!ENTITY x{i} '{f'&x{i - 1};' * 10}'>" for i in range(1, 12)
)
_DECLARED = '<?xml version="1.0" encoding="{}"?>'
_BOMB = f"<!DOCTYPE pool [{_ENTITIES}]>" + _POOL.format("<a b='&x11;'>&x11;</a>")


def _pool(inside: str) -> str:
    return _POOL.format(inside)


REFUSED: Final[dict[str, str | bytes]] = {
    "20 MB of text": _pool("x" * 20_000_000),
    "20 MB of bytes": _pool("x" * 20_000_000).encode(),
    "20 MB of wide characters": _pool("\U0001f600" * 5_000_000),
    "20 MB of elements": _pool("<a/>" * 5_000_000),
    "256 KB nested": "<a>" * 85_000,
    "256 KB nested and closed": _pool("<a>" * 35_000 + "</a>" * 35_000),
    "256 KB that is never closed": "<pool " + "a" * 250_000,
    "256 KB of comments, then a DOCTYPE": "<!---->" * 35_000 + "<!DOCTYPE pool><pool/>",
    "256 KB of space, then a DOCTYPE": " \n" * 125_000 + "<!DOCTYPE pool><pool/>",
    "256 KB of comments that never end": "<!--" * 62_000,
    "256 KB of instructions that never end": "<?a " * 62_000,
    "entity bomb": _BOMB,
    "entity bomb in an attribute": f"<!DOCTYPE pool [{_ENTITIES}]><pool type='&x11;'/>",
    "entity bomb behind a declaration that never ends": '<?xml version="1.0">' + _BOMB,
    "entity that is its own": "<!DOCTYPE pool [<!ENTITY a '&a;'>]><pool>&a;</pool>",
    "quadratic entity": (
        f"<!DOCTYPE pool [<!ENTITY a '{'x' * 50_000}'>]><pool>{'&a;' * 50_000}</pool>"
    ),
    "external entity": (
        '<!DOCTYPE pool [<!ENTITY x SYSTEM "file:///etc/passwd">]><pool type="&x;">&x;</pool>'
    ),
    "external DTD": '<!DOCTYPE pool SYSTEM "http://127.0.0.1:1/a.dtd"><pool/>',
    "parameter entity": ('<!DOCTYPE pool [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><pool/>'),
    "attributes by default": (
        "<!DOCTYPE pool [<!ATTLIST pool type CDATA 'dir'>]>" + _pool("").replace("type='dir'", "")
    ),
    "DOCTYPE in small letters": "<!doctype pool><pool/>",
    "DOCTYPE after the root": _pool("") + "<!DOCTYPE pool>",
    "entity that nobody declared": _pool("&passwd;"),
    "the same attribute twice": "<pool type='dir' type='fs'/>",
    "UTF-16": _BOMB.encode("utf-16"),
    "UTF-16 without a mark": _BOMB.encode("utf-16-le"),
    "UTF-16 the other way round": _BOMB.encode("utf-16-be"),
    "UTF-32": _BOMB.encode("utf-32"),
    "UTF-7 that hides a DOCTYPE": (
        (_DECLARED.format("UTF-7") + "+ADw-!DOCTYPE pool+AD4-<pool/>").encode()
    ),
    "EBCDIC": (_DECLARED.format("cp037") + _BOMB).encode("cp037"),
    "Latin 1 that says so": (
        (_DECLARED.format("ISO-8859-1") + _pool("\xe4")).encode("iso-8859-1")
    ),
    "Latin 1 that does not": _pool("\xe4").encode("iso-8859-1"),
    "a NUL byte": _pool("a\0b"),
    "a NUL by its number": _pool("&#0;"),
    "half of a surrogate pair": _pool("\ud800"),
    "half of a pair in UTF-8": _pool("\ud800").encode("utf-8", "surrogatepass"),
    "half of a pair by its number": _pool("&#xd800;"),
    "overlong UTF-8": _pool("").encode() + b"\xc0\xbc",
    "a number of 250,000 digits": _pool(f"<uuid>{'1' * 250_000}</uuid>"),
    "a UUID of 250,000 spaces": _pool(f"<uuid>{' ' * 250_000}</uuid>"),
    "a mode of 250,000 digits": (
        "<pool type='dir'><name>a</name><target><path>/a</path><permissions>"
        f"<mode>{'0' * 250_000}</mode></permissions></target></pool>"
    ),
}
"""Documents by what they are; none is to be read."""

READ: Final[dict[str, str | bytes]] = {
    "an inclusion": _pool(
        "<i:include xmlns:i='http://www.w3.org/2001/XInclude' href='/etc/passwd' parse='text'/>"
    ),
    "a schema": _pool(
        "<a xmlns:i='http://www.w3.org/2001/XMLSchema-instance'"
        " i:schemaLocation='http://127.0.0.1:1/ file:///etc/passwd'/>"
    ),
    "a style sheet": '<?xml-stylesheet href="file:///etc/passwd"?>' + _pool(""),
    "256 KB of attributes": _pool("<a" + "".join(f" a{i}=''" for i in range(22_000)) + "/>"),
    "256 KB of namespaces": _pool(
        "<a" + "".join(f" xmlns:a{i}='b'" for i in range(11_000)) + "/>"
    ),
    "256 KB of other names": _pool("".join(f"<n{i}/>" for i in range(27_000))),
    "256 KB of comments": _pool("<!---->" * 35_000),
    "256 KB of instructions": _pool("<?a?>" * 50_000),
    "256 KB of character references": _pool("&#65;" * 50_000),
    "256 KB of CDATA": _pool("<![CDATA[]]>" * 21_000),
    "256 KB of hosts": _pool("<source>" + "<host name='a'/>" * 16_000 + "</source>"),
}
"""Documents that are read, and what they hold beside a pool is left alone."""
