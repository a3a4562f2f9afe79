"""A passphrase in a file that only memory holds."""

from __future__ import annotations

import fcntl
import os

from volary.engine.secret import Secret

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def open_secret(secret: Secret) -> int:
    """Return the descriptor of a new memory file that holds `secret` and cannot be changed.

    A program that inherits it reads it as /proc/self/fd/N, as often as it wants.
    """
    fd = os.memfd_create("secret", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.write(fd, secret.reveal())
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd
