"""A passphrase that shows nowhere."""

from __future__ import annotations

from hmac import compare_digest
from typing import NoReturn

from volary.engine.errors import InvalidSpec


class Secret:
    """Bytes that only `reveal` gives, and no repr, log line or traceback with its frames' values.

    It says nothing of its length either. Two of the same bytes are equal.

    value: bytes, a str that is taken as UTF-8, or another secret; never empty.

    Raises `InvalidSpec`, which does not have the value in it.
    """

    __slots__ = ("_content",)

    def __init__(self, value: bytes | str | Secret) -> None:
        try:
            content, problem = _content_of(value)
        finally:
            del value  # or else a traceback that shows a frame's values would show it
        if problem is not None:
            del content
            raise InvalidSpec(f"the secret {problem}")
        self._content = content

    @classmethod
    def of(cls, value: bytes | str | Secret | None) -> Secret | None:
        """Return the secret, or None where there is none; raises `InvalidSpec`."""
        try:
            return None if value is None else cls(value)
        finally:
            del value

    def reveal(self) -> bytes:
        """Return the bytes: to be handed on at once, and kept in no variable."""
        return self._content

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(self._content, other._content)

    def __hash__(self) -> int:
        return hash(self._content)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        # Whoever caches or sends a specification would not know that the passphrase goes along.
        raise TypeError("a secret is not pickled: it would be there in clear")


def _content_of(value: object) -> tuple[bytes, str | None]:
    """Return the bytes, and what is wrong with them."""
    if isinstance(value, Secret):
        return value.reveal(), None
    if isinstance(value, str):
        try:
            value = value.encode()
        except UnicodeEncodeError:  # it has the value in it: nothing is raised from here
            return b"", "has characters that UTF-8 cannot hold; give its bytes"
    if not isinstance(value, bytes):
        return b"", f"is a {type(value).__name__}, and no passphrase; give bytes or a str"
    return value, None if value else "is empty; give at least one byte"
