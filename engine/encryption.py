"""How a volume is encrypted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from volary.engine.errors import InvalidSpec, PassphraseMissing
from volary.engine.names import character_problem
from volary.engine.secret import Secret
from volary.engine.shown import shown

_LONGEST_NAME = 32
_NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST_NAME}}}")
"""What a cipher, a hash and so on can be called: QEMU's longest name has 13 characters."""


@dataclass(frozen=True, slots=True, init=False)
class Encryption:
    """LUKS encryption of a volume that is to be created, with the passphrase that opens it.

    secret: the passphrase: bytes, or a str that is taken as UTF-8; never empty. It is kept as a
        `Secret`: in no repr, no log line, no command line and no document. None where it is given
        with the call that creates the volume.
    reference: the secret in the host's keeping that has it, by its UUID or its usage, as libvirt's
        documents have it; Volary keeps no secrets, and hands it on.
    cipher: such as "aes-256" (the default of QEMU); mode: such as "xts"; hash: such as "sha256";
        ivgen: such as "plain64"; ivgen_hash: the hash of an "essiv" ivgen. QEMU's names, see
        "qemu-img create -f luks -o help"; None leaves the choice to it.

    Raises `InvalidSpec`.
    """

    secret: Secret | None = field(repr=False)
    reference: UUID | str | None
    cipher: str | None
    mode: str | None
    hash: str | None
    ivgen: str | None
    ivgen_hash: str | None

    def __init__(
        self,
        secret: bytes | str | Secret | None = None,
        *,
        reference: UUID | str | None = None,
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
        put(self, "reference", reference)
        try:
            put(self, "secret", Secret.of(secret))
        finally:
            del secret  # or else a traceback that shows a frame's values would show it
        for what, name in names.items():
            _check_name(what, name)
        _check_reference(reference)

    def with_secret(self, secret: Secret) -> Encryption:
        """Return the same with a passphrase."""
        return Encryption(
            secret,
            reference=self.reference,
            cipher=self.cipher,
            mode=self.mode,
            hash=self.hash,
            ivgen=self.ivgen,
            ivgen_hash=self.ivgen_hash,
        )

    def passphrase(self, where: str) -> Secret:
        """Return the passphrase; `where` begins the text of the error where there is none.

        Raises `PassphraseMissing` where there is a reference only, and `InvalidSpec` where there
        is nothing.
        """
        if self.secret is not None:
            return self.secret
        if self.reference is None:
            raise InvalidSpec(
                f"{where} is to be encrypted, and has no secret; give the call its passphrase "
                "(secret=…)"
            )
        raise PassphraseMissing(
            f"{where} is to be encrypted with the secret {shown(str(self.reference))}, which the "
            "host keeps and Volary does not have; give the call its passphrase (secret=…)"
        )


def _check_reference(given: object) -> None:
    if given is None or isinstance(given, UUID):
        return
    if not isinstance(given, str):
        raise InvalidSpec(
            f"encryption: reference is a {type(given).__name__}; give a UUID or a usage"
        )
    problem = character_problem(given)
    if problem is not None:
        raise InvalidSpec(f"encryption: reference {shown(given)} {problem}")


def _check_name(what: str, given: object) -> None:
    if given is None or (isinstance(given, str) and _NAME.fullmatch(given)):
        return
    shown = repr(given[:_LONGEST_NAME]) if isinstance(given, str) else f"a {type(given).__name__}"
    raise InvalidSpec(
        f"encryption: {what}, {shown}, is no name of letters, digits, '-' and '_', "
        f"{_LONGEST_NAME} at the most; leave it out for QEMU's default"
    )
