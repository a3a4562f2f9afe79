"""How a pool's actor is reached, whichever actor it is at the moment."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

import pykka

from volary.engine.actors import messages as m
from volary.engine.actors.actor import ask
from volary.engine.actors.life import Life
from volary.engine.errors import ConnectionClosed, PoolCrashed, PoolNotFound, VolaryError
from volary.engine.pool_spec import PoolSpec

R = TypeVar("R")


class PoolRef:
    """A pool's address: the same object after its actor was started anew."""

    def __init__(self, spec: PoolSpec, life: Life) -> None:
        assert spec.uuid is not None  # noqa: S101 - the engine gave it one
        self.name = spec.name
        self.uuid: UUID = spec.uuid
        self.target = spec.target
        """That of its current definition; the engine's actor sets it."""
        self._life = life
        self._actor: pykka.ActorRef[Any] | None = None
        self._gone = False

    def ask(self, request: m.Request[R]) -> R:
        """Return the pool's answer, or raise the error that it answers with."""
        try:
            answer: R = ask(self._require_actor(), request)
        except pykka.ActorDeadError:
            raise self._unreachable() from None
        return answer

    def submit(self, command: m.PoolCommand) -> None:
        """Have an operation begun; its job tells the outcome."""
        command.job.submitted(self)
        self._tell(command)
        if self._actor is not None and not self._actor.is_alive():
            command.job.fail(self._unreachable())

    def _tell(self, message: object) -> None:
        try:
            self._require_actor().tell(message)
        except pykka.ActorDeadError:
            raise self._unreachable() from None

    def _require_actor(self) -> pykka.ActorRef[Any]:
        self._life.check()
        if self._actor is None or self._gone:
            raise self._unreachable()
        return self._actor

    def _unreachable(self) -> VolaryError:
        try:
            self._life.check()
        except ConnectionClosed as error:
            return error
        if self._gone:
            return PoolNotFound(f"pool {self.name!r} is no more: it was undefined or stopped")
        return PoolCrashed(
            f"pool {self.name!r} met an error of its own and is being started anew; try again"
        )

    # Steering, of `volary.engine.actors.job.Steering`.

    def check(self) -> None:
        """Raise `ConnectionClosed` when nobody will ever end the job."""
        self._life.check_jobs()

    def cancel(self, job_id: int) -> None:
        """Have the job undone and ended."""
        self._tell(m.SteerJob(job_id, m.Cancel()))

    def pause(self, job_id: int) -> None:
        """Have the job stand still."""
        self._tell(m.SteerJob(job_id, m.Pause()))

    def resume(self, job_id: int) -> None:
        """Have the job go on."""
        self._tell(m.SteerJob(job_id, m.Resume()))

    def limit(self, job_id: int, rate: int | None) -> None:
        """Have the job do at most `rate` bytes a second."""
        self._tell(m.SteerJob(job_id, m.Limit(rate)))

    # For the engine.

    def close(self, message: m.ClosePool) -> bool:
        """Have the pool closed, though no call is taken any more; return whether it is there."""
        if self._actor is None or self._gone:
            return False
        try:
            self._actor.tell(message)
        except pykka.ActorDeadError:
            return False
        return self._actor.is_alive()

    def point_to(self, actor: pykka.ActorRef[Any]) -> None:
        """Be the address of `actor` from now on."""
        self._actor = actor

    def tell(self, message: object) -> None:
        """Tell the pool something, if it is there."""
        with suppress(VolaryError):
            self._tell(message)

    def gone(self) -> None:
        """Be the address of nobody."""
        self._gone = True
