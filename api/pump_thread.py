"""Threads that run a caller's iterators and file objects."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable

from volary.engine.errors import InternalFailure


def start_pump(call: Callable[[], None]) -> None:
    """Run `call` on a thread of its own, in the caller's context (contextvars).

    It is no thread of the engine, which waits for its own when it is closed: nobody knows how
    long a caller's iterator takes. Raises `InternalFailure` when no thread can be started.
    """
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(call,), name="volary-pump", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # the system's or a container's bound on threads
        raise InternalFailure(f"no thread could be started: {error}") from error
