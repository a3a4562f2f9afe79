from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from volary.engine.encryption import Encryption
from volary.engine.errors import ErrorCode, InvalidSpec, PassphraseMissing
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


def test_a_secret_can_be_one_that_the_host_keeps() -> None:
    key = uuid4()
    assert Encryption(reference=key).reference == key
    assert Encryption(reference="/volary/a").with_secret(Secret("key")) == Encryption(
        "key", reference="/volary/a"
    )


@pytest.mark.parametrize("reference", [5, b"usage", "a\0b", "a\nb", "\ud800"])
def test_what_refers_to_no_secret_is_refused(reference: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"^encryption: reference"):
        Encryption(reference=reference)


def test_a_passphrase_that_is_not_there_is_told_with_libvirts_code() -> None:
    with pytest.raises(PassphraseMissing, match=r"^the volume .*'/volary/a'") as caught:
        Encryption(reference="/volary/a").passphrase("the volume")
    assert caught.value.code == ErrorCode.NO_SECRET
    with pytest.raises(InvalidSpec, match=r"^the volume .* has no secret"):
        Encryption().passphrase("the volume")
