"""`volary vol`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from volary.api.cli.account import group_id, user_id
from volary.engine.errors import InvalidSpec


def test_the_default_pool_is_made_at_its_first_use_and_said_once(
    volary: Callable[..., object], images: Path
) -> None:
    first, second = volary("vol", "list"), volary("vol", "list")
    assert first.err == f"volary: made pool 'default' in {images}\n"
    assert second.err == ""
    assert images.is_dir()
