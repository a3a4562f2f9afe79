"""Which process has the state directory, found without taking it."""

from __future__ import annotations

import os
import re

_LOCK = ".volary.lock"  # that of `volary.engine.definition_store`


def state_owner(directory: str) -> str | None:
    """Return who owns the state directory, such as "process 12 (volary) on host", or None.

    To try the lock would be to have it for a moment, and turn away an engine that opens just
    then. So this reads what the owner wrote into it, and whether the kernel lists the lock as
    that process's (/proc/locks, proc_locks(5)).
    """
    try:
        # A link is followed nowhere, and a FIFO is not waited for.
        fd = os.open(
            os.path.join(directory, _LOCK),
            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
        )
        with open(fd, encoding="utf-8", errors="replace") as file:
            inode = os.fstat(fd).st_ino
            said = file.read(500)
        with open("/proc/locks", encoding="ascii") as locks:
            held = locks.read()
    except OSError:
        return None
    match = re.match(r"process (\d+) ", said)
    if match is None:
        return None
    # "1: FLOCK  ADVISORY  WRITE 4242 fd:00:1234 0 EOF"; the device is left out, since on btrfs
    # it is not the one that stat(2) gives.
    pattern = rf"^\d+: FLOCK +ADVISORY +WRITE {match[1]} \S+:{inode} "
    return said if re.search(pattern, held, re.MULTILINE) else None
