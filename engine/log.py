"""Where the engine's log lines go: the host's structlog if it configured one, else `logging`."""

from __future__ import annotations

import logging

import structlog

# A library configures nothing. structlog unconfigured would print to standard output, so a host
# that does not use it gets our lines through the standard library's logger "volary" instead,
# silent until the host adds a handler.
_standard_logger = logging.getLogger("volary")
_standard_logger.addHandler(logging.NullHandler())
_standard: structlog.stdlib.BoundLogger = structlog.wrap_logger(
    _standard_logger,
    wrapper_class=structlog.stdlib.BoundLogger,
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.KeyValueRenderer(key_order=["event"]),
    ],
).bind()


def log() -> structlog.stdlib.BoundLogger:
    """Return the logger to write one line to."""
    if structlog.is_configured():
        configured: structlog.stdlib.BoundLogger = structlog.get_logger("volary")
        return configured
    return _standard
