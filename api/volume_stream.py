"""A download as a stream of chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from volary.engine.actors.job import Job
from volary.engine.hole import Hole
from volary.engine.pipe import END, End, Pipe, PipeFailed

ChunkT = TypeVar("ChunkT", bound=bytes | Hole)
"""What comes: bytes, or also a `Hole` in place of zeros."""


class VolumeStream(Generic[ChunkT]):
    """What a volume holds, in chunks: iterated over, or asynchronously in a coroutine.

    It is read no faster than it is taken. Leave it by its end, by `close`, or by the end of a
    `with` or `async with` block: until then the volume cannot be written.

    job: the download. When it fails, so does the iteration.
    """

    def __init__(self, pipe: Pipe, begin: Callable[[], Job[int]]) -> None:
        """Begin the download.

        pipe: what it is going to feed.
        begin: starts it.
        """
        self._pipe = pipe
        self._left = False
        self._woken: asyncio.Event | None = None
        self.job: Job[int] = begin()
        # A job that never began does not say so to the pipe itself.
        self.job.add_done_callback(lambda _: pipe.end())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ChunkT:
        try:
            chunk = self._pipe.take()
        except PipeFailed:
            chunk = END
        if isinstance(chunk, End):
            self._pipe.close()
            self.job.result()
            raise StopIteration
        return cast("ChunkT", chunk)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChunkT:
        woken = self._listen()
        while True:
            woken.clear()
            try:
                chunk = self._pipe.take(0)
            except PipeFailed:
                chunk = END
            if isinstance(chunk, End):
                self._pipe.close()
                await self.job
                raise StopAsyncIteration
            if chunk is not None:
                return cast("ChunkT", chunk)
            await woken.wait()

    def _listen(self) -> asyncio.Event:
        """Have the running loop woken when something comes."""
        if self._woken is None:
            loop = asyncio.get_running_loop()
            woken = self._woken = asyncio.Event()

            def on_item() -> None:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(woken.set)

            self._pipe.on_item = on_item
        return self._woken

    def close(self) -> None:
        """Read no more: the download is cancelled unless it has ended. Twice is no mistake."""
        self._left = True
        self.job.cancel()
        # Not before it has ended, or it would fail because of that rather than be cancelled.
        pipe = self._pipe
        self.job.add_done_callback(lambda _: pipe.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if not self.job.done():  # on a loop's thread, close() does not wait for it
            loop = asyncio.get_running_loop()
            ended = asyncio.Event()

            def wake(_: object) -> None:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(ended.set)

            self.job.add_done_callback(wake)
            await ended.wait()

    def __del__(self) -> None:
        # Nobody will take the rest: let the download fail rather than wait for ever.
        if not self._left:
            self._pipe.close()
