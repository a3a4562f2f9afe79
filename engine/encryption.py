"""How a volume is encrypted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import overload

from volary.engine.errors import InvalidSpec


@dataclass(frozen=True, slots=True)
class Encryption:
    """LUKS encryption of a volume that is to be created, with the passphrase that opens it.

    secret: the passphrase: bytes, or a str that is taken as UTF-8; never empty. It is in no
        repr, no log line and no command line.
    cipher: such as "aes-256" (the default of QEMU); mode: such as "xts"; hash: such as "sha256";
        ivgen: such as "plain64"; ivgen_hash: the hash of an "essiv" ivgen. QEMU's names, see
        "qemu-img create -f luks -o help"; None leaves the choice to it.

    Raises `InvalidSpec`.
    """

    secret: bytes | str = field(repr=False)
    cipher: str | None = None
    mode: str | None = None
    hash: str | None = None
    ivgen: str | None = None
    ivgen_hash: str | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without QEMU."""
        passphrase(self.secret)

    @property
    def passphrase(self) -> bytes:
        """The secret in bytes."""
        return passphrase(self.secret)


@overload
def passphrase(secret: bytes | str) -> bytes: ...
@overload
def passphrase(secret: bytes | str | None) -> bytes | None: ...
def passphrase(secret: bytes | str | None) -> bytes | None:
    """Return a secret in bytes; raises `InvalidSpec` for one that is none."""
    if secret is None:
        return None
    if not isinstance(secret, bytes | str) or not secret:
        raise InvalidSpec("the secret is no passphrase; give at least one byte, or a str")
    return secret.encode() if isinstance(secret, str) else secret
