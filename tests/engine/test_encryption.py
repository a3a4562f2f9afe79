from __future__ import annotations

from typing import Any

import pytest

from volary.engine.encryption import Encryption
from volary.engine.errors import InvalidSpec
from volary.engine.secret import Secret

OPTIONS = ("cipher", "mode", "hash", "ivgen", "ivgen_hash")


@pytest.mark.parametrize("secret", [b"key", "key", Secret("key")])
def test_a_secret_is_kept_as_one(secret: Any) -> None:
    assert Encryption(secret).secret == Secret("key")
    assert "key" not in repr(Encryption(secret))


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_a_short_name(option: str) -> None:
    how = Encryption("key", **{option: "Aes-256_xts"})
    assert getattr(how, option) == "Aes-256_xts"


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("value", ["", "a\0b", "a,b", "a=b", "a b", "ä", "a\n", "x" * 33, b"a", 5])
def test_an_option_that_is_no_name_is_refused(option: str, value: Any) -> None:
    with pytest.raises(InvalidSpec, match=f"^encryption: {option}, .* is no name of letters") as e:
        Encryption("key", **{option: value})
    assert len(str(e.value)) < 200
