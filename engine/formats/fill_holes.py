"""Putting on disk what an image's tables point to and nobody wrote yet."""

from __future__ import annotations

import os
from contextlib import closing

from volary.engine.formats import raw
from volary.engine.formats.data_runs import stretches
from volary.engine.progress import Done, Operation
from volary.engine.volume_spec import Preallocation


def fill_holes(fd: int, start: int, *, preallocation: Preallocation) -> Operation[None]:
    """Put the holes of the file from `start` on on disk, by "falloc" or "full" as a raw image's.

    What is no hole, such as tables between them, is left alone.
    """
    end = os.fstat(fd).st_size
    # All are looked for before the first one is filled.
    holes = [part for part in stretches(fd, start, end) if not part.is_data]
    total = sum(hole.end - hole.begin for hole in holes)
    before = 0
    for hole in holes:
        filling = raw.allocate(fd, hole.begin, hole.end, preallocation=preallocation)
        with closing(filling) as work:
            for at in work:
                if isinstance(at, Done):
                    yield Done(before + at.done, total, before + at.taken)
                else:
                    yield at
        before += hole.end - hole.begin
