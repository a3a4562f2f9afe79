"""`volary vol wipe`."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer

from volary.api.cli.progress_bar import duration
from volary.api.cli.session import Session
from volary.api.cli.volume_document import volume_document
from volary.api.cli.volume_options import Identity, Limit, PoolName, rate
from volary.engine.flags import ASYNC
from volary.engine.progress import Progress
from volary.engine.size import format_size
from volary.engine.wipe_algorithm import WipeAlgorithm

EXAMPLES = (
    "volary vol wipe a.raw                     zeros, once",
    "volary vol wipe a.raw --algorithm dod     random, zeros, ones, and a look whether they are",
    "volary vol wipe a.raw --algorithm trim    at once: the space is given back",
)


class Algorithm(StrEnum):
    """The ways to wipe, as the command names them."""

    ZERO = "zero"
    NNSA = "nnsa"
    DOD = "dod"
    BSI = "bsi"
    GUTMANN = "gutmann"
    SCHNEIER = "schneier"
    PFITZNER7 = "pfitzner7"
    PFITZNER33 = "pfitzner33"
    RANDOM = "random"
    TRIM = "trim"


def wipe(
    context: typer.Context,
    name: Identity,
    *,
    pool: PoolName = None,
    algorithm: Annotated[
        Algorithm,
        typer.Option(
            "--algorithm",
            "-a",
            help="What to write, and how often. Passes: zero and random 1, nnsa and dod 4, "
            "schneier and pfitzner7 7, bsi 9, pfitzner33 33, gutmann 35; trim writes nothing "
            "and gives the space back.",
        ),
    ] = Algorithm.ZERO,
    limit: Limit = None,
) -> None:
    """Write over all that a volume holds.

    What was in it cannot be read again. It begins at once: nobody asks twice. The volume stays,
    with its size on disk, and is raw from then on, whatever format it had. Holes, which hold
    nothing, stay holes. It cannot be undone: when it is cancelled or fails, what it came to is
    lost, and what is behind that is still there.

    A disk or a file system may keep older copies of what is written over: flash memory does, and
    so do btrfs, snapshots and clones that share blocks.
    """
    bytes_a_second = rate(limit)
    chosen = WipeAlgorithm[algorithm.name]
    passes = len(chosen.passes)
    with Session(context) as session:
        volume = session.volume(name, pool)
        began = time.monotonic()

        def words(at: Progress) -> str:
            if passes < 2 or not at.total:  # noqa: PLR2004 - one pass needs no number
                return f"wiping {volume.name}"
            return f"wiping {volume.name}, pass {_pass(at, passes)[0]} of {passes}"

        def cancelled(at: Progress) -> str:
            return f"volume {volume.name!r} is wiped in part, and that is not undone: {_came(at)}"

        def _came(at: Progress) -> str:
            if not at.total:
                return "it had only begun"
            number, done, size = _pass(at, passes)
            return (
                f"pass {number} of {max(1, passes)} had come to at least {format_size(done)} of "
                f"{format_size(size)}"
            )

        job = volume.wipe(chosen, ASYNC)
        session.wait(job, words, cancelled=cancelled, limit=bytes_a_second)
        session.output.result(
            f"Volume {volume.name!r} of pool {volume.pool.name!r} wiped with "
            f"{algorithm.value!r}: {format_size(job.progress().done)} "
            f"{_ways(passes)}, {duration(time.monotonic() - began)}.",
            volume_document(volume.pool, volume.info()),
        )


def _pass(at: Progress, passes: int) -> tuple[int, int, int]:
    """Return which pass it is in, how far that is and how long it is, in bytes."""
    size = max(1, at.total // max(1, passes))
    number = min(at.done // size, max(0, passes - 1))
    return number + 1, at.done - number * size, size


def _ways(passes: int) -> str:
    match passes:
        case 0:
            return "given back"
        case 1:
            return "written"
        case _:
            return f"in {passes} passes"
