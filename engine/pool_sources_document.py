"""The documents of a search for sources: what to search for, and what was found."""

from __future__ import annotations

from collections.abc import Iterable

from volary.engine.pool_source import PoolSource
from volary.engine.pool_source_document import read_source, write_source
from volary.engine.pool_type import POOL_TYPES
from volary.engine.xml_document import parse


def read_source_document(document: str | bytes, type_name: str) -> PoolSource:
    """Return the `<source>` that says where to search for sources of pools of that type.

    It may lack what a pool's source must have, such as the directory on a host.

    Raises `InvalidDocument`.
    """
    return read_source(parse(document, "source"), POOL_TYPES[type_name])


def write_sources_document(sources: Iterable[PoolSource]) -> str:
    """Return the `<sources>` that were found."""
    return "<sources>\n" + "".join(write_source(found, "  ") for found in sources) + "</sources>\n"
