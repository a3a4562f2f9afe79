"""What the engine tells its callers to give, as whoever types a command gives it."""

from __future__ import annotations

import re

_OPTIONS = (
    (re.compile(r"<?PoolBuild\.NO_OVERWRITE\b(: \d+>)?"), "--no-overwrite"),
    (re.compile(r"<?PoolBuild\.OVERWRITE\b(: \d+>)?"), "--overwrite"),
    (re.compile(r"\bthe flag REFLINK\b"), "--reflink"),
    (re.compile(r"\bthe flag SHRINK\b"), "--shrink"),
    (re.compile(r"\bgive the call its passphrase \(secret=…\)"), "give one with --secret-file"),
)


def in_options(message: str) -> str:
    """Return an error's message with the command's options for the engine's flags."""
    for words, option in _OPTIONS:
        message = words.sub(option, message)
    return message
