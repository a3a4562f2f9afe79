from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from volary.engine.errors import InvalidSpec
from volary.engine.pool_spec import PoolSpec


def test_a_target_is_a_path_and_is_normalised() -> None:
    assert PoolSpec("a", target=Path("/srv//x/../images/")).target == "/srv/images"
    assert PoolSpec("a", target="//srv").target == "/srv"


def test_a_uuid_may_be_text() -> None:
    text = "70a2c9f0-4f1b-4f3a-9d62-31a6c0f9e1aa"
    assert PoolSpec("a", target="/a", uuid=text).uuid == UUID(text)


def test_a_uuid_is_made_when_none_is_given() -> None:
    spec = PoolSpec("a", target="/a")
    assert spec.with_uuid().uuid != spec.with_uuid().uuid


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"name": "a/b"}, "pool name 'a/b' has a '/'"),
        ({"name": "x" * 252}, "has 252 bytes; at most 251"),
        ({"type": "dri"}, "unknown type 'dri'; known: dir"),
        ({"target": "images"}, "target 'images' is relative"),
        ({"target": ""}, "target '' is no path"),
        ({"target": None}, "target None is no path; give an absolute one"),
        ({"target": b"/a"}, "target b'/a' is no path"),
        ({"target": "/a\ufffe"}, "target '/a.ufffe' has U.FFFE"),
        ({"target": "/a\nb"}, "control character"),
        ({"target": "/a\0"}, "control character"),
        ({"target": "/" + "a" * 4096}, "target has 4097 bytes"),
        ({"uuid": "x"}, "uuid 'x' is none"),
        ({"uuid": 5}, "uuid 5 is none"),
        ({"mode": 0o10000}, "mode: 4096 is not within"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidSpec, match=reason):
        PoolSpec(**{"name": "a", "target": "/a", **options})
