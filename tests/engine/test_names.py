from __future__ import annotations

import pytest

from volary.engine.errors import InvalidSpec
from volary.engine.names import check_name


@pytest.mark.parametrize("name", ["a", "a.raw", ".hidden", "größe", "a b", "-rf", "é" * 127, "…"])
def test_a_path_component_is_a_name(name: str) -> None:
    assert check_name(name, "volume") == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        (".", "means a directory"),
        ("..", "means a directory"),
        ("../x", "has a '/'"),
        ("a/b", "has a '/'"),
        ("/", "has a '/'"),
        ("a\nb", "control character"),
        ("a\0b", "control character"),
        ("a\x7f", "control character"),
        ("a\ufffe", "has U.FFFE or U.FFFF"),
        ("\uffffa", "has U.FFFE or U.FFFF"),
        ("x" * 256, "has 256 bytes; at most 255"),
        ("é" * 128, "has 256 bytes; at most 255"),
        ("\udcff", "UTF-8 cannot hold"),
        (".volary-x", "keeps for itself"),
        (b"bytes", "is a bytes"),
        (None, "is a NoneType"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidSpec, match=f"volume name .* {reason}"):
        check_name(name, "volume")
