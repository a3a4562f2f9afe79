"""How a value is shown in an error's text."""

from __future__ import annotations

_LONGEST = 64


def shown(value: object) -> str:
    """Return the value as Python writes it, or the beginning of it when it is long."""
    text = repr(value[: _LONGEST + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _LONGEST + 2 else text[: _LONGEST + 1] + "…"
