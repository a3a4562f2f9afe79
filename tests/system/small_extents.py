"""Small extents, so that small volumes have many of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from volary.engine.formats import raw, raw_copy, raw_transfer, raw_wipe
from volary.engine.pipe import Pipe

EXTENT: Final = 64 << 10
"""Bytes that are written, read or reserved between two words, in place of the real figures."""


@contextmanager
def small_extents() -> Iterator[None]:
    """Have every operation of this process work in extents of `EXTENT` bytes, as a context."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (raw, raw_copy, raw_transfer, raw_wipe):
            patch.setattr(module, "EXTENT", EXTENT)
        for module in (raw, raw_transfer):
            patch.setattr(module, "FALLOCATE_EXTENT", EXTENT)
        patch.setattr(raw_transfer, "CHUNK", EXTENT)
        patch.setattr(raw_wipe, "_TRIM_EXTENT", EXTENT)
        patch.setattr(raw._Zeros, "_view", None)  # made anew, as small as the rest
        # What a pipe takes unless it is told: few chunks, so that both sides wait.
        patch.setattr(Pipe.__init__, "__defaults__", (2 * EXTENT,))
        yield
