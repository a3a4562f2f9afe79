"""One command's use of an engine: opened, watched, remembered, closed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import typer

from volary.api.cli.history import remember
from volary.api.cli.interruption import Interrupted
from volary.api.cli.options import Options
from volary.api.cli.output import Output
from volary.api.cli.progress_bar import Words, said, watch
from volary.api.connection import Connection, open  # noqa: A004 - volary.open, like gzip.open
from volary.api.pool import Pool
from volary.api.volume import Volume
from volary.engine.actors.job import Job
from volary.engine.backing_chain import ChainLink
from volary.engine.errors import PoolNotFound, VolaryError
from volary.engine.flags import ASYNC, PoolBuild, PoolStart
from volary.engine.log import log
from volary.engine.pool_spec import PoolSpec

T = TypeVar("T")

DEFAULT_POOL = "default"
"""The pool of commands that name none."""


def options_of(context: typer.Context) -> Options:
    """Return what was given before the subcommand."""
    options = context.find_object(Options)
    assert options is not None  # noqa: S101 - the root command sets it
    return options


def is_unmounted(pool: Pool) -> bool:
    """Say whether starting the pool would mount something, which a mere look should not do."""
    if pool.type != "fs" or pool.is_active:
        return False
    return not os.path.ismount(os.path.realpath(pool.target))


class Session:
    """An engine for as long as one command runs, as a context.

    No daemon keeps pools active between commands, so a command starts the pools that it uses.
    Leaving the context cancels what still runs, waits until it is undone, and writes the jobs
    that were waited for into the history.
    """

    def __init__(self, context: typer.Context) -> None:
        options = options_of(context)
        self.output = Output(as_json=options.json)
        self._default_target = options.default_target
        self._jobs: list[Job[Any]] = []
        self.connection: Connection = open(options.connect, state_dir=options.state_dir)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.connection.close()
        try:
            remember(self.connection.state_dir, [job for job in self._jobs if job.done()])
        except OSError as problem:
            log().warning("the history of jobs could not be written", why=str(problem))

    def wait(
        self,
        job: Job[T],
        what: Words,
        *,
        cancelled: Words,
        limit: int | None = None,
        keep: bool = True,
    ) -> T:
        """Return the job's result, showing how far it is; Ctrl-C cancels it.

        what: names the job in its progress bar.
        cancelled: what to tell the user who cancelled it, when that is done.
        limit: bytes a second that it may do at most.
        keep: whether it goes into the history.
        """
        if keep:
            self._jobs.append(job)
        try:
            if limit is not None and not job.done():
                job.limit(limit)
            watch(job, what, bar=not self.output.as_json)
            return job.result()
        except Interrupted as signal:
            if job.cancel():
                told = said(cancelled, job.progress())
                raise Interrupted(signal.signum, f"cancelled: {told}") from None
            why = job.exception() or f"{job.operation} {job.state.value}"
            raise Interrupted(signal.signum, f"too late to cancel: {why}") from None

    def pool(self, name: str) -> Pool:
        """Return a pool by name or UUID, active or not."""
        return self.connection.pool(name)

    def pool_in_use(self, name: str | None) -> Pool:
        """Return an active pool; without a name the default one, made at its first use."""
        if name is None or name == DEFAULT_POOL:
            try:
                pool = self.pool(DEFAULT_POOL)
            except PoolNotFound:
                return self._make_default_pool()
        else:
            pool = self.pool(name)
        self.ensure_active(pool)
        return pool

    def _make_default_pool(self) -> Pool:
        pool = self.connection.define_pool(PoolSpec(DEFAULT_POOL, target=self._default_target))
        try:
            self.ensure_active(pool, build=True)
        except BaseException:
            pool.undefine()
            raise
        pool.autostart = True
        self.output.note(f"made pool {DEFAULT_POOL!r} in {pool.target}")
        return pool

    def ensure_active(self, pool: Pool, *, build: bool = False) -> None:
        """Start the pool for this command, unless it is active."""
        if not pool.is_active:
            flags = PoolStart.BUILD if build else PoolStart.NONE
            self.wait(
                pool.start(flags | ASYNC),
                f"starting pool {pool.name}",
                cancelled=f"pool {pool.name!r} is not started",
                keep=False,
            )

    def ensure_inactive(self, pool: Pool) -> None:
        """Stop the pool, which only this very command has started."""
        if pool.is_active:
            pool.stop()

    def build(self, pool: Pool, flags: PoolBuild) -> None:
        """Make what the pool needs to be started."""
        self.wait(
            pool.build(flags | ASYNC),
            f"building pool {pool.name}",
            cancelled=f"pool {pool.name!r} is not built",
        )

    def start_all(self, pools: Sequence[Pool]) -> dict[Pool, VolaryError | None]:
        """Start those pools that can be; return what keeps the others from it."""
        outcome: dict[Pool, VolaryError | None] = {}
        starting = {pool: pool.start(ASYNC) for pool in pools if not pool.is_active}
        for pool in pools:
            outcome[pool] = None
            if pool in starting:
                try:
                    self.wait(
                        starting[pool],
                        f"starting pool {pool.name}",
                        cancelled=f"pool {pool.name!r} is not started",
                        keep=False,
                    )
                except VolaryError as error:
                    outcome[pool] = error
        return outcome

    def volume(self, identity: str, pool: str | None) -> Volume:
        """Return a volume by its name in a pool, or by its path or key in any pool."""
        if "/" not in identity or pool is not None:  # no name has a "/"
            return self.pool_in_use(pool).volume(identity)
        pools = self.connection.pools()
        if identity.startswith(("/", "./", "../")):
            path = os.path.abspath(identity)
            there = self.pool_at(os.path.dirname(path))
            self.start_all([pool for pool in pools if pool == there or not is_unmounted(pool)])
            return self.connection.volume(path=path)
        # A key begins with the UUID of its pool.
        self.start_all([pool for pool in pools if identity.startswith(f"{pool.uuid}/")])
        return self.connection.volume(key=identity)

    def pool_at(self, folder: str) -> Pool | None:
        """Return the pool whose directory that is, active or not, or None."""
        place = os.path.realpath(folder)
        for pool in self.connection.pools():
            if pool.target and os.path.realpath(pool.target) == place:
                return pool
        return None

    def start_chain(self, volume: Volume) -> tuple[ChainLink, ...]:
        """Return the volume's backing chain, having started the pools that it leads into.

        Raises `VolumeNotFound`, and what keeps a pool from being started.
        """
        while True:
            chain = volume.chain()
            end = chain[-1]
            if end.info is not None or end.path is None:
                return chain
            pool = self.pool_at(os.path.dirname(end.path))
            if pool is None or pool.is_active:
                return chain
            self.ensure_active(pool)
