from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volary.engine.uuid_text import parse_uuid

TEXT = "70a2c9f0-4f1b-4f3a-9d62-31a6c0f9e1aa"


@given(st.uuids())
def test_a_uuid_comes_back(uuid: UUID) -> None:
    assert parse_uuid(str(uuid)) == uuid
    assert parse_uuid(uuid.hex.upper()) == uuid


@pytest.mark.parametrize("text", [f"\t{TEXT}\n", f"-- {TEXT} ", TEXT.replace("-", " - ")])
def test_hyphens_and_spaces_stand_between_pairs(text: str) -> None:
    assert parse_uuid(text) == UUID(TEXT)


@pytest.mark.parametrize(
    "text",
    ["", TEXT[:-1], TEXT + "0", TEXT + "-", "{" + TEXT + "}", "7-" + TEXT[1:], TEXT[:-1] + "g"],
)
def test_other_text_is_none(text: str) -> None:
    assert parse_uuid(text) is None
