"""The volary command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_NEEDED = frozenset({"typer", "rich"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    arguments: those after the command's name; the process's own if not given.

    What it is made of, typer and rich, is the extra `cli`: a service that embeds Volary need not
    install them, and is told how when it calls this.
    """
    try:
        from volary.api.cli.app import run  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _NEEDED:
            raise
        sys.stderr.write(f"volary: the command needs {package}: pip install 'volary[cli]'\n")
        return 2
    except KeyboardInterrupt:  # before there is anything to undo
        return 130
    return run(sys.argv[1:] if arguments is None else arguments)
