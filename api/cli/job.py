"""`volary job`: the jobs of past commands."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from volary.api.cli.command_group import command_group
from volary.api.cli.history import KEPT, PastJob, clear_history, read_history
from volary.api.cli.output import Output
from volary.api.cli.progress_bar import duration
from volary.api.cli.session import options_of
from volary.api.cli.state_owner import state_owner
from volary.engine.errors import JobNotFound
from volary.engine.size import format_size

app = command_group(
    "Jobs: what past commands did to pools and volumes.\n\n"
    "A job lives as long as the process that runs it. Commands write down what became of "
    f"theirs; the last {KEPT} are kept.",
    "volary job list",
    "volary job show 12",
)


@app.command("list")
def list_jobs(context: typer.Context) -> None:
    """List the jobs of past commands, the latest last."""
    options = options_of(context)
    output = Output(as_json=options.json)
    jobs = read_history(options.state_directory)
    owner = state_owner(options.state_directory)
    if options.json:
        output.document({"owner": owner, "jobs": [asdict(job) for job in jobs]})
        return
    output.table(
        ("ID", "OPERATION", "POOL", "VOLUME", "STATE", "DONE", "TIME", "WHEN", "ERROR"),
        [
            (
                str(job.id),
                job.operation,
                job.pool or "-",
                job.volume or "-",
                job.state,
                format_size(job.bytes) if job.bytes else "-",
                duration(job.seconds),
                _when(job, "%b %d %H:%M"),
                "-" if job.error is None else str(job.error.get("error")),
            )
            for job in jobs
        ],
        right="ID DONE TIME",
    )
    if owner is not None:
        output.note(f"{owner} has the state directory now; its own jobs are not among these")


@app.command()
def show(
    context: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="The job's number in the list.")],
) -> None:
    """Show a job of a past command."""
    options = options_of(context)
    output = Output(as_json=options.json)
    for job in read_history(options.state_directory):
        if job.id == number:
            break
    else:
        raise JobNotFound(f"no past command had the job {number}, or it was forgotten")
    if options.json:
        output.document(asdict(job))
        return
    output.facts(
        [
            ("ID", str(job.id)),
            ("Operation", job.operation),
            ("Pool", job.pool or "-"),
            ("Volume", job.volume or "-"),
            ("State", job.state),
            ("Done", format_size(job.bytes)),
            ("Time", duration(job.seconds)),
            ("When", _when(job)),
            ("Error", "-" if job.error is None else str(job.error.get("message"))),
        ]
    )


@app.command()
def clear(context: typer.Context) -> None:
    """Forget the jobs of past commands."""
    options = options_of(context)
    count = clear_history(options.state_directory)
    Output(as_json=options.json).result(
        f"{count} {'job' if count == 1 else 'jobs'} forgotten.", {"forgotten": count}
    )


def _when(job: PastJob, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return its time as the clock on the wall shows it."""
    return datetime.fromisoformat(job.when).astimezone().strftime(form)
