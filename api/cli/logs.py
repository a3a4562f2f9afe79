"""The command's log: lines on standard error."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def configure_logs(verbosity: int, *, as_json: bool) -> None:
    """Write log lines from a level on: warnings, with -v what is going on, with -vv all.

    Human lines, or JSON lines where standard error is for a program.
    """
    level = _LEVELS[min(verbosity, len(_LEVELS) - 1)]
    processors: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if as_json else "%H:%M:%S", utc=as_json),
    ]
    if verbosity == 0:
        processors.insert(0, _without_outcomes)
    if as_json:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        processors.append(
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,
                pad_event_to=0,
            )
        )
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # The stream of the moment: a progress bar takes its place, to write above itself.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _without_outcomes(
    _: Any, __: str, event: structlog.types.EventDict
) -> structlog.types.EventDict:
    """Drop the line of a failed job: the command's own last line says it."""
    if event.get("event") == "job failed":
        raise structlog.DropEvent
    return event
