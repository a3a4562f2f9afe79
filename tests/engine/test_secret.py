from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from volary.engine.errors import InvalidSpec
from volary.engine.secret import Secret


@pytest.mark.parametrize("value", [b"k\xffy", "käy", Secret("key")])
def test_a_secret_gives_its_bytes_only_when_they_are_asked_for(value: Any) -> None:
    secret = Secret(value)
    assert isinstance(secret.reveal(), bytes)
    shown = (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", "%s" % [secret])
    assert all("y" not in text for text in shown)


def test_a_str_is_taken_as_utf_8() -> None:
    assert Secret("ä").reveal() == b"\xc3\xa4"


def test_two_of_the_same_bytes_are_equal() -> None:
    assert Secret("a") == Secret(b"a") == Secret(Secret("a"))
    assert hash(Secret("a")) == hash(Secret(b"a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != b"a"


def test_it_is_copied_and_never_pickled() -> None:
    secret = Secret("key")
    assert copy.deepcopy([copy.copy(secret)]) == [secret]
    with pytest.raises(TypeError, match="in clear"):
        pickle.dumps(secret)


def test_there_may_be_none() -> None:
    assert Secret.of(None) is None
    assert Secret.of("a") == Secret("a")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "is empty"),
        (b"", "is empty"),
        (5, "is a int, and no passphrase"),
        (None, "is a NoneType"),
        (bytearray(b"key"), "is a bytearray"),
        ("k\udc80ey", "has characters that UTF-8 cannot hold"),
    ],
)
def test_what_is_no_secret_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(InvalidSpec, match=f"^the secret {reason}") as caught:
        Secret(value)
    assert caught.value.__cause__ is caught.value.__context__ is None
