from __future__ import annotations

import pytest

from volary.engine.errors import InvalidDocument, UnknownValue
from volary.engine.pool_source import PoolSource, SourceDevice, SourceHost
from volary.engine.pool_sources_document import read_source_document, write_sources_document


def test_a_source_to_search_in_may_lack_what_a_pools_has() -> None:
    assert read_source_document("<source><host name='nas' port='2049'/></source>", "netfs") == (
        PoolSource(hosts=(SourceHost("nas", 2049),), format="auto")
    )


def test_found_sources_are_written() -> None:
    found = (
        PoolSource(devices=(SourceDevice("/dev/vdb"),), name="a & b", format="lvm2"),
        PoolSource(hosts=(SourceHost("nas"),), directory="/exports", format="nfs"),
    )
    assert (
        write_sources_document(found)
        == """<sources>
  <source>
    <device path='/dev/vdb'/>
    <name>a &amp; b</name>
    <format type='lvm2'/>
  </source>
  <source>
    <host name='nas'/>
    <dir path='/exports'/>
    <format type='nfs'/>
  </source>
</sources>
"""
    )
    assert write_sources_document([]) == "<sources>\n</sources>\n"


@pytest.mark.parametrize(
    ("document", "error", "reason"),
    [
        ("<pool/>", InvalidDocument, "line 1: expected the element <source>, found <pool>"),
        ("<source>\n<host/></source>", InvalidDocument, "line 2: <host> has no 'name'"),
        ("<source><format type='x'/></source>", UnknownValue, "unknown type 'x'; known: auto"),
    ],
)
def test_a_source_that_is_none_is_refused(
    document: str, error: type[InvalidDocument], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        read_source_document(document, "netfs")
