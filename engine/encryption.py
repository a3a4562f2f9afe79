"""How a volume is encrypted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from volary.engine.errors import InvalidSpec
from volary.engine.secret import Secret

_LONGEST_NAME = 32
_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST_NAME}}}")
"""What a cipher, a hash and so on can be called: QEMU's longest name has 13 characters."""


@dataclass(frozen=True, slots=True, init=False)
class Encryption:
    """LUKS encryption of a volume that is to be created, with the passphrase that opens it.

    secret: the passphrase: bytes, or a str that is taken as UTF-8; never empty. It is kept as a
        `Secret`: in no repr, no log line and no command line.
    cipher: such as "aes-256" (the default of QEMU); mode: such as "xts"; hash: such as "sha256";
        ivgen: such as "plain64"; ivgen_hash: the hash of an "essiv" ivgen. QEMU's names, see
        "qemu-img create -f luks -o help"; None leaves the choice to it.

    Raises `InvalidSpec`.
    """

    secret: Secret = field(repr=False)
    cipher: str | None
    mode: str | None
    hash: str | None
    ivgen: str | None
    ivgen_hash: str | None

    def __init__(
        self,
        secret: bytes | str | Secret,
        *,
        cipher: str | None = None,
        mode: str | None = None,
        hash: str | None = None,  # noqa: A002 - QEMU's word
        ivgen: str | None = None,
        ivgen_hash: str | None = None,
    ) -> None:
        put = object.__setattr__
        names = {
            "cipher": cipher,
            "mode": mode,
            "hash": hash,
            "ivgen": ivgen,
            "ivgen_hash": ivgen_hash,
        }
        for what, name in names.items():
            put(self, what, name)
        try:
            put(self, "secret", Secret(secret))
        finally:
            del secret  # or else a traceback that shows a frame's values would show it
        for what, name in names.items():
            _check_name(what, name)


def _check_name(what: str, given: object) -> None:
    if given is None or (isinstance(given, str) and _NAME.fullmatch(given)):
        return
    shown = repr(given[:_LONGEST_NAME]) if isinstance(given, str) else f"a {type(given).__name__}"
    raise InvalidSpec(
        f"encryption: {what}, {shown}, is no name of letters, digits, '-' and '_', "
        f"{_LONGEST_NAME} at the most; leave it out for QEMU's default"
    )
