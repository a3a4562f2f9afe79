"""What all our actors share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pykka

from volary.engine.actors.mailbox import Mailbox
from volary.engine.actors.threads import Threads
from volary.engine.errors import InternalFailure

_LATE = 5.0
"""Seconds to wait for the answer of an actor that stopped while it was being asked."""


def ask(actor: pykka.ActorRef[Any], message: object) -> Any:
    """Return an actor's answer; raises what it raises, and `pykka.ActorDeadError`."""
    reply: pykka.Future[Any] = actor.ask(message, block=False)
    try:
        # An actor that is still alive now will either read the question or refuse it. Of one that
        # stopped meanwhile, Pykka may have looked through the mailbox before it came.
        return reply.get(timeout=None if actor.is_alive() else _LATE)
    except pykka.Timeout:
        raise pykka.ActorDeadError(f"{actor} stopped") from None


class Actor(pykka.ThreadingActor):
    """An actor on one of its engine's threads."""

    actor_inbox: Mailbox

    def __init__(self, threads: Threads) -> None:
        super().__init__()
        self._threads = threads

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    def _start_actor_loop(self) -> None:
        self.run_on_thread(self._actor_loop)

    def run_on_thread(self, loop: Callable[[], None]) -> None:
        """Run the actor's loop; without a thread there is no actor, and no trace of one."""
        try:
            self._threads.run(loop)
        except InternalFailure:
            pykka.ActorRegistry.unregister(self.actor_ref)
            raise
