"""What every worker does at the begin and the end of a job."""

from __future__ import annotations

from typing import Any

import structlog

from volary.engine.actors.job import Job
from volary.engine.errors import InternalFailure, VolaryError
from volary.engine.log import log


def bind_job(job: Job[Any]) -> None:
    """Have each log line of this context bear the job's name."""
    structlog.contextvars.bind_contextvars(
        job=job.id, pool=job.pool, volume=job.volume, operation=job.operation
    )


def defect(job: Job[Any], error: BaseException) -> VolaryError:
    """Log an exception that no operation should raise, and return what to fail the job with."""
    log().error("an operation met an error of its own", exc_info=error)
    failure = InternalFailure(
        f"{job.operation} in pool {job.pool!r} failed on a defect of Volary: {error!r}; "
        "please report it with the log"
    )
    failure.__cause__ = error
    return failure


def log_end(how: str, seconds: float, error: BaseException | None = None) -> None:
    """Log that a job has ended."""
    if error is None:
        log().info("job " + how, seconds=round(seconds, 6))
    else:
        log().warning("job " + how, seconds=round(seconds, 6), why=str(error))
