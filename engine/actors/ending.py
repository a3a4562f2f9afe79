"""What every worker does at the begin and the end of a job."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pykka
import structlog

from volary.engine.actors.events import Announcement
from volary.engine.actors.job import Job
from volary.engine.actors.messages import Announce
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
        f"{job.operation} on {job.where} failed on a defect of Volary: {error!r}; "
        "please report it with the log"
    )
    failure.__cause__ = error
    return failure


def announce_end_through(pool: pykka.ActorRef[Any], job: Job[Any]) -> None:
    """Have listeners hear of a job's end after what the pool, which was told of it, tells them: of
    the volume that there is now, say.
    """
    if job.has_listeners:
        events = job.events
        job.tell_end_by(lambda end: announce_through(pool, Announcement(events, (end,))))


def announce_through(pool: pykka.ActorRef[Any], announcement: Announcement) -> None:
    """Have events published when the pool has taken note of what it was told before."""
    with suppress(pykka.ActorDeadError):
        pool.tell(Announce(announcement))
    if not pool.is_alive():  # it may have stopped without a look at that
        announcement.publish()


def log_end(how: str, seconds: float, error: BaseException | None = None) -> None:
    """Log that a job has ended."""
    if error is None:
        log().info("job " + how, seconds=round(seconds, 6))
    else:
        log().warning("job " + how, seconds=round(seconds, 6), why=str(error))
