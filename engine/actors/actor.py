"""What all our actors share."""

from __future__ import annotations

import pykka

from volary.engine.actors.mailbox import Mailbox
from volary.engine.actors.threads import Threads


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
        self._threads.run(self._actor_loop)
