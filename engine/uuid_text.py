"""UUIDs as libvirt reads them."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

_UUID: Final = re.compile(r"[ \t\n\v\f\r]*+(?:[- ]*+[0-9a-fA-F]{2}){16}[ \t\n\v\f\r]*+")
_NOT_A_DIGIT: Final = re.compile("[^0-9a-fA-F]+")


def parse_uuid(text: str) -> UUID | None:
    """Return the UUID that `text` holds, or None: 32 hexadecimal digits, with hyphens and spaces
    before any pair of them, and white space around all.
    """
    return UUID(_NOT_A_DIGIT.sub("", text)) if _UUID.fullmatch(text) else None
