"""A live line for a job that takes long enough to be watched."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from volary.engine.actors.job import Job
from volary.engine.progress import Progress
from volary.engine.size import format_size

Words: TypeAlias = str | Callable[[Progress], str]
"""What to say of a job, or what makes it of how far the job is."""

_PATIENCE = 0.2
"""Seconds before a bar appears: what is done sooner needs none, and would only flicker."""

_REDRAWN = 0.1
"""Seconds between two looks at the job."""


def said(words: Words, at: Progress) -> str:
    """Return what is to be said of a job that is so far."""
    return words if isinstance(words, str) else words(at)


def watch(job: Job[Any], what: Words, *, bar: bool) -> None:
    """Wait until the job has ended, however it ends.

    what: names it in the bar.
    bar: whether one is wanted; it is shown if standard error is a terminal, after a moment.
    """
    if not (bar and sys.stderr.isatty()):
        # Not without a limit: Python sees to a signal between two of its instructions, so that
        # one which comes just before the main thread goes to sleep would not wake it.
        while not wait([job], timeout=_REDRAWN).done:
            pass
        return
    if not wait([job], timeout=_PATIENCE).done:
        _show(job, what)


def _show(job: Job[Any], what: Words) -> None:
    console = Console(stderr=True, emoji=False)
    console.width -= len("^C")  # which a terminal writes behind the bar: it may not go over
    with Bars(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task("", total=None, figures="")
        _update(progress, task, job, what)
        while not wait([job], timeout=_REDRAWN).done:
            _update(progress, task, job, what)


def _update(progress: Bars, task: TaskID, job: Job[Any], what: Words) -> None:
    at = job.progress()
    progress.update(
        task,
        description=said(what, at),
        completed=at.done,
        # A total of 0 is one that is not known: the bar then only shows that something goes on.
        total=at.total or None,
        figures=figures(job),
    )


def figures(job: Job[Any]) -> str:
    """Return bytes done and in all, rate and time left, as far as they are known."""
    at = job.progress()
    if not at.total and not at.done:
        return job.state.value
    words = [format_size(at.done) + (f" of {format_size(at.total)}" if at.total else "")]
    if at.rate:
        words.append(f"{format_size(int(at.rate))}/s")
    if at.total and at.eta is not None:
        words.append(f"{duration(at.eta)} left")
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Return a time for people: "4 ms", "0.4 s", "12 s", "3:05", "1:02:03"."""
    if seconds < 0.1:  # noqa: PLR2004 - which would be 0.0 s
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:  # noqa: PLR2004 - tenths tell something below ten seconds
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{whole} s"
