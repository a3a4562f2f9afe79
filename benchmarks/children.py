"""Child processes, for what must start with clean memory, or is to be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeVar

T = TypeVar("T")

# Spawned, not forked: a fork would inherit the parent's memory.
_spawn = multiprocessing.get_context("spawn")


@contextmanager
def child(function: Callable[..., None], *args: Any) -> Iterator[tuple[int, Connection]]:
    """Run `function(sender, *args)` in a child; gives its process id and the pipe's other end.

    The child is killed at the end if it still runs.
    """
    receiver, sender = _spawn.Pipe(duplex=False)
    process = _spawn.Process(target=function, args=(sender, *args), daemon=True)
    process.start()
    sender.close()
    try:
        assert process.pid is not None
        yield process.pid, receiver
    finally:
        process.kill()
        process.join()
        receiver.close()


def in_child(function: Callable[..., T], *args: Any) -> T:
    """Return what `function(*args)` returns in a child."""
    with child(_answer, function, args) as (_, receiver):
        try:
            answer: T = receiver.recv()
        except EOFError:
            raise RuntimeError(f"the child that ran {function.__name__} failed") from None
        return answer


def _answer(sender: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    sender.send(function(*args))


def kill(pid: int) -> None:
    """Kill a child as the kernel's out-of-memory killer would."""
    os.kill(pid, signal.SIGKILL)
