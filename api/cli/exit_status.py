"""How the command ends: its exit status, and its last line on standard error."""

from __future__ import annotations

from volary.engine.errors import (
    InvalidSpec,
    JobNotFound,
    PoolBusy,
    PoolNotFound,
    StateDirectoryBusy,
    VolaryError,
    VolumeBusy,
    VolumeNotFound,
)

FAILED = 1
USAGE = 2
NOT_FOUND = 3
BUSY = 4
OUTPUT_CLOSED = 141
"""What a shell reports of a process that SIGPIPE ended: the reader of our output went away."""

HELP = (
    "Exit status: 0 done; 1 the operation failed; 2 wrong usage; 3 no such pool, volume or job; "
    "4 it is busy, or another command is at work; 130 cancelled by Ctrl-C; 143 cancelled by "
    "SIGTERM."
)


def status_of(error: VolaryError) -> int:
    """Return the exit status for an error."""
    match error:
        case InvalidSpec():
            return USAGE
        case PoolNotFound() | VolumeNotFound() | JobNotFound():
            return NOT_FOUND
        case VolumeBusy() | PoolBusy() | StateDirectoryBusy():
            return BUSY
        case _:
            return FAILED
