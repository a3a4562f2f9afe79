"""Passphrases: from a file or a descriptor, never from the command line or the environment, which
other users may read (/proc/PID/cmdline and environ, proc(5)).
"""

from __future__ import annotations

import getpass
import os
import sys

from volary.engine.errors import InvalidSpec, from_os_error
from volary.engine.secret import Secret
from volary.engine.volume_info import VolumeInfo

_LONGEST = 64 << 10
"""Bytes that are read: many times what any passphrase has, and a bound on what never ends."""

HELP = (
    "the file with the passphrase (a newline at its end is no part of it); '-' for standard "
    "input, a terminal asking for it; /dev/fd/3 for a descriptor."
)


def read_secret(path: str | None, option: str, *, new: bool = False) -> Secret | None:
    """Return the passphrase in a file, or on standard input for "-"; None without a path.

    A terminal is asked for it, and shows nothing of what is typed.

    option: what the user gave the path with, to be named in errors.
    new: whether it is for a volume that is to be made: a terminal is then asked twice.
    """
    if path is None:
        return None
    if path == "-" and sys.stdin is not None and sys.stdin.isatty():
        secret = _ask(f"{option}: ")
        if new and _ask(f"{option}, again: ") != secret:
            raise InvalidSpec(f"{option}: the two differ")
    else:
        secret = _read(path, option)
        # An editor ends each line, and a passphrase is typed without an end.
        secret = secret.removesuffix(b"\n")
    if not secret:
        raise InvalidSpec(f"{option}: {_named(path)} holds no passphrase")
    try:
        return Secret(secret)
    finally:
        del secret  # no traceback that shows a frame's values has it


def require_secret(volume: VolumeInfo, secret: Secret | None, option: str) -> None:
    """Raise `InvalidSpec` when a volume is encrypted, and `option` was not given."""
    if secret is None and volume.image is not None and volume.image.encryption is not None:
        raise InvalidSpec(
            f"volume {volume.name!r} is encrypted; name the file with its passphrase with {option}"
        )


def _ask(prompt: str) -> bytes:
    try:
        return getpass.getpass(prompt).encode()
    except BaseException:  # Ctrl-C, say
        sys.stderr.write("\n")
        raise


def _read(path: str, option: str) -> bytes:
    secret = b""
    try:
        fd = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file:
            # A pipe gives what is in it at the moment.
            while len(secret) <= _LONGEST and (more := file.read(_LONGEST)):
                secret += more
    except OSError as error:
        raise from_os_error(error, f"{option}: reading {_named(path)}") from error
    if len(secret) > _LONGEST:
        raise InvalidSpec(f"{option}: {_named(path)} has more than {_LONGEST} bytes")
    return secret


def _named(path: str) -> str:
    return "standard input" if path == "-" else path
