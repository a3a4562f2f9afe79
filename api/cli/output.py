"""What the command writes: tables and sentences for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import StringIO
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from volary.api.cli.exit_status import FAILED, OUTPUT_CLOSED
from volary.api.cli.option_words import in_options
from volary.api.cli.printable import printable
from volary.engine.errors import TransferFailed, VolaryError

_UNBOUNDED = 100_000
"""Columns that a table may have."""


class Output:
    """Where the command's results, notes and errors go.

    Results go to standard output; notes and errors to standard error, so that a pipe carries
    results only.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def document(self, value: object) -> None:
        """Write a result for a program."""
        _write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def result(self, sentence: str, value: object) -> None:
        """Write a sentence for people, or the value for a program."""
        if self.as_json:
            self.document(value)
        else:
            _write(sentence + "\n")

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: str) -> None:
        """Write a table; `right` names the columns whose values are numbers.

        It is as wide as it needs to be: a terminal goes on in the next line, and nothing is cut
        off or broken up, for whoever copies a path from it.
        """
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for head in heads:
            table.add_column(head, justify="right" if head in right.split() else "left")
        for row in rows:
            table.add_row(*row)
        _render(table)

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Write names and values, one a line."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold")
        grid.add_column()
        for name, value in facts:
            grid.add_row(f"{name}:", value)
        _render(grid)

    def note(self, sentence: str) -> None:
        """Tell people something that is no result."""
        if not self.as_json:
            _tell(f"volary: {sentence}\n")

    def aside(self, sentence: str, value: object) -> None:
        """Write a result to standard error, where standard output has something else to carry."""
        if self.as_json:
            _tell(json.dumps(value, ensure_ascii=False) + "\n")
        else:
            self.note(sentence)

    def error(self, error: VolaryError) -> None:
        """Tell what went wrong; of a transfer, how far it came, too."""
        message = in_options(str(error))
        document = problem_document(type(error).__name__, int(error.code), message)
        if isinstance(error, TransferFailed):
            document["done"] = error.done
        self.aside(message, document)

    def problem(self, kind: str, code: int, message: str) -> None:
        """Tell what went wrong: in a line, or in the object of `problem_document`."""
        self.aside(message, problem_document(kind, code, message))


def problem_document(kind: str, code: int, message: str) -> dict[str, Any]:
    """Return an error as an object: its class, libvirt's code for it, and its sentence."""
    return {"error": kind, "code": code, "message": message}


def _render(table: Table) -> None:
    # Names are shown as they are: no [markup], no :emoji:, no guessed highlights.
    text = StringIO()
    console = Console(
        file=text,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=sys.stdout.isatty(),
        width=_UNBOUNDED,
    )
    console.print(table)
    _write("".join(f"{line.rstrip()}\n" for line in text.getvalue().split("\n")[:-1]))


def prepare_streams() -> None:
    """Have writing not fail for what the streams are: closed, or of an encoding that lacks a
    character of a name, which is then shown as an escape.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for good
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _tell(text: str) -> None:
    """Write to standard error; that nobody reads it changes nothing of what happens."""
    with suppress(OSError):
        sys.stderr.write("\n".join(printable(line) for line in text.split("\n")))


def _write(text: str) -> None:
    """Write to standard output, and leave quietly when nobody reads any more, as in
    `volary vol list | head -1`.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more at exit, which would fail again.
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(OUTPUT_CLOSED) from None
        _tell(f"volary: writing the result: {error.strerror}\n")
        raise typer.Exit(FAILED) from None
