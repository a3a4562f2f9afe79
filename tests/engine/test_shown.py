from __future__ import annotations

import pytest

from volary.engine.shown import shown


@pytest.mark.parametrize("value", ["a", "x" * 64, "'", None, 5, ("a", "b"), b"c"])
def test_a_short_value_is_shown_whole(value: object) -> None:
    assert shown(value) == repr(value)


@pytest.mark.parametrize("value", ["x" * 65, "\n" * 10_000_000, b"x" * 65, ["x"] * 1000])
def test_a_long_one_is_not(value: object) -> None:
    text = shown(value)
    assert len(text) < 80
    assert text.endswith("…")
