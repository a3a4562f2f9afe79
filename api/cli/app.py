"""The command as a whole: options before the subcommand, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

import volary
from volary.api.cli import job, pool, vol
from volary.api.cli.command_group import command_group
from volary.api.cli.exit_status import FAILED, HELP, USAGE, status_of
from volary.api.cli.interruption import Interrupted, interruptible
from volary.api.cli.logs import configure_logs
from volary.api.cli.options import Options
from volary.api.cli.output import Output, prepare_streams
from volary.api.connection import SESSION, SYSTEM
from volary.engine.errors import ErrorCode, VolaryError

app = command_group(
    "Storage pools and their volumes.",
    "volary vol create a.raw 8G",
    "volary vol list",
    "volary --json pool list",
)
app.info.epilog = f"{app.info.epilog}\n\n{HELP}"
app.add_typer(pool.app, name="pool")
app.add_typer(vol.app, name="vol")
app.add_typer(job.app, name="job")

# typer takes click along, or has its own, as versions go: both have this class and this base.
_UsageError: Any = typer.BadParameter.__base__


def run(arguments: Sequence[str]) -> int:
    """Run the command with these arguments, and return its exit status."""
    prepare_streams()
    arguments = _json_first(arguments)
    # What comes here before the options are parsed, or because they cannot be, needs to know.
    output = Output(as_json=arguments[:1] == ["--json"])
    try:
        with interruptible():
            status = _COMMAND.main(args=arguments, prog_name="volary", standalone_mode=False)
    except VolaryError as error:
        output.error(error)
        return status_of(error)
    except Interrupted as signal:
        output.problem("JobCancelled", ErrorCode.OPERATION_ABORTED, str(signal))
        return signal.status
    except _UsageError as error:
        return _wrong_usage(error, output)
    except SystemExit as leaving:  # typer's way when the reader of a help text goes away
        return leaving.code if isinstance(leaving.code, int) else FAILED
    return status if isinstance(status, int) else 0


def _json_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with --json at the front: it is taken after the subcommand as well,
    where one adds it to a command that was there before.
    """
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    if "--json" not in words[:end]:
        return words
    return ["--json", *(word for word in words[:end] if word != "--json"), *words[end:]]


def _wrong_usage(error: Any, output: Output) -> int:
    message = str(error.format_message()).rstrip()
    if message and type(error).__name__ != "NoArgsIsHelpError":
        output.problem("UsageError", ErrorCode.INVALID_ARG, message)
        if error.ctx is not None:
            output.note(f"try '{error.ctx.command_path} --help'")
    elif error.ctx is not None:
        typer.echo(error.ctx.get_help(), err=True)
    return USAGE


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"volary {volary.__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    connect: Annotated[
        str | None,
        typer.Option(
            "--connect", "-c", metavar="URI", help=f"{SESSION} (the default) or {SYSTEM}."
        ),
    ] = None,
    state_dir: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where pool definitions are, if not at the URI's place."),
    ] = None,
    *,
    json: Annotated[
        bool, typer.Option("--json", help="Write JSON, sizes in bytes; may stand anywhere.")
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            help="Log what goes on; twice for more.",
            show_default=False,
        ),
    ] = 0,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Set what all subcommands need."""
    configure_logs(verbose, as_json=json)
    context.obj = Options(connect, state_dir, json, verbose)


_COMMAND = get_command(app)
