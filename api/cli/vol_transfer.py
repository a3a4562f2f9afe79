"""`volary vol upload` and `volary vol download`."""

from __future__ import annotations

import io
import sys
import time
from typing import Annotated

import typer

from volary.api.cli.exit_status import OUTPUT_CLOSED
from volary.api.cli.progress_bar import duration
from volary.api.cli.session import Session
from volary.api.cli.volume_document import volume_document
from volary.api.cli.volume_options import (
    Identity,
    Length,
    Limit,
    Offset,
    PoolName,
    SourceLength,
    rate,
)
from volary.engine.errors import InvalidSpec, TransferFailed
from volary.engine.flags import ASYNC
from volary.engine.progress import Progress
from volary.engine.size import format_size, parse_size

UPLOAD_EXAMPLES = (
    "volary vol upload a.raw disk.img",
    "xz -dc disk.img.xz | volary vol upload a.raw -",
    "volary vol upload a.raw boot.bin --offset 1M",
)
DOWNLOAD_EXAMPLES = (
    "volary vol download a.raw disk.img",
    "volary vol download a.raw - | xz > disk.img.xz",
    "volary vol download a.raw first.bin --length 512",
)


def upload(
    context: typer.Context,
    name: Identity,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What to write; '-' for standard input.")
    ],
    *,
    pool: PoolName = None,
    offset: Offset = "0",
    length: SourceLength = None,
    limit: Limit = None,
) -> None:
    """Write a file into a volume that is there.

    Holes of the file become holes. A raw volume keeps its size: a file that is larger is refused
    (of a pipe, what fits is written before that is seen), and of a smaller one the rest stays as
    it was. What the volume is afterwards, raw or qcow2, is found out from what was written.

    It is written in place, over what was there: when it is cancelled or fails, what was written
    stays, and the message says how far it came.
    """
    bytes_a_second = rate(limit)
    begin = parse_size(offset, "--offset")
    size = None if length is None else parse_size(length, "--length")
    with Session(context) as session:
        volume = session.volume(name, pool)
        began = time.monotonic()

        def cancelled(at: Progress) -> str:
            into = f"into volume {volume.name!r}"
            if not at.done:
                return f"no data were written {into} yet"
            return f"at least {format_size(at.done)} are written {into}, and stay there"

        job = volume.upload(_source(file), ASYNC, offset=begin, length=size)
        session.wait(job, f"uploading to {volume.name}", cancelled=cancelled, limit=bytes_a_second)
        now = volume.info()
        session.output.result(
            f"{'Standard input' if file == '-' else file} uploaded to volume {volume.name!r} of "
            f"pool {volume.pool.name!r}: {format_size(job.progress().done)} of data, "
            f"{duration(time.monotonic() - began)}; the volume is "
            f"{'a partition' if now.type == 'block' else now.format}, "
            f"{format_size(now.capacity)}.",
            volume_document(volume.pool, now),
        )


def download(
    context: typer.Context,
    name: Identity,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Where to write it; '-' for standard output. A file that is there is replaced, "
            "as soon as the new one is whole, and keeps its permissions; a new one is its owner's "
            "only.",
        ),
    ],
    *,
    pool: PoolName = None,
    offset: Offset = "0",
    length: Length = None,
    limit: Limit = None,
) -> None:
    """Read a volume into a file.

    It is what is on disk: of a qcow2 the image, and not what its guest sees. Holes become holes,
    on standard output zeros, and nothing else is written there. When this is cancelled or fails,
    no file is left, and one that was there before stays as it was.
    """
    bytes_a_second = rate(limit)
    begin = parse_size(offset, "--offset")
    size = None if length is None else parse_size(length, "--length")
    target = _standard_output() if file == "-" else file
    with Session(context) as session:
        volume = session.volume(name, pool)
        began = time.monotonic()

        def cancelled(at: Progress) -> str:
            if file == "-":
                return f"{format_size(at.done)} of volume {volume.name!r} were read"
            return f"nothing was written to {file}"

        try:
            count = session.wait(
                volume.download(target, ASYNC, offset=begin, length=size),
                f"downloading {volume.name}",
                cancelled=cancelled,
                limit=bytes_a_second,
            )
        except TransferFailed as error:
            if file == "-" and isinstance(error.__cause__, BrokenPipeError):
                raise typer.Exit(OUTPUT_CLOSED) from None
            raise
        document = {"downloaded": count, **volume_document(volume.pool, volume.info())}
        what = f"{volume.name!r} of pool {volume.pool.name!r} downloaded"
        figures = f"{format_size(count)}, {duration(time.monotonic() - began)}"
        if file == "-":
            session.output.aside(f"volume {what}: {figures}", document)
        else:
            session.output.result(f"Volume {what} to {file}: {figures}.", document)


def _source(file: str) -> str | io.FileIO:
    if file != "-":
        return file
    if sys.stdin is None:
        raise InvalidSpec("standard input is closed: there is nothing to upload")
    # Unbuffered: a thread that still reads when the process ends would have the buffer's lock.
    return io.FileIO(sys.stdin.fileno(), "rb", closefd=False)


def _standard_output() -> io.FileIO:
    if sys.stdout.isatty():
        raise InvalidSpec(
            "a volume is no text for a terminal; send it into a pipe or a file, or name a file"
        )
    return io.FileIO(sys.stdout.fileno(), "wb", closefd=False)
