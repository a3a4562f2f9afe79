"""The engine's actor: owns the map of pools, and starts anew those that crash."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from types import MappingProxyType
from typing import Any, ClassVar
from uuid import UUID

from volary.engine.actors import messages as m
from volary.engine.actors.actor import Actor
from volary.engine.actors.events import Events
from volary.engine.actors.inheritance import Inheritance
from volary.engine.actors.job import Job
from volary.engine.actors.life import Life
from volary.engine.actors.pool_actor import PoolActor
from volary.engine.actors.pool_map import PoolMap
from volary.engine.actors.pool_ref import PoolRef
from volary.engine.actors.space_ledger import SpaceLedger
from volary.engine.actors.threads import Threads
from volary.engine.definition_store import DefinitionStore, StoredPool
from volary.engine.errors import (
    ConnectionClosed,
    InternalFailure,
    PoolExists,
    PoolNotFound,
    VolaryError,
)
from volary.engine.event import PoolEventKind
from volary.engine.log import log
from volary.engine.pool_conflict import Claim
from volary.engine.pool_definition import PoolDefinition
from volary.engine.settings import Settings

_RESTARTS = 5
_RESTART_WINDOW = 60.0
"""A pool that crashed more than `_RESTARTS` times in so many seconds is started inactive, without
what it had in memory."""

_RETRY_INTERVAL = 1.0
"""Seconds until a pool is started anew that could not be."""


class EngineActor(Actor):
    """The root supervisor."""

    def __init__(
        self,
        threads: Threads,
        *,
        store: DefinitionStore,
        settings: Settings,
        job_ids: itertools.count[int],
        life: Life,
        events: Events,
        stored: list[StoredPool],
    ) -> None:
        super().__init__(threads)
        self._life = life
        self._events = events
        self._stored = stored
        self._ledger = SpaceLedger()
        self._store = store
        self._settings = settings
        self._job_ids = job_ids
        self._pools = PoolMap()
        self._crashes: dict[UUID, deque[float]] = {}
        self._to_restart: list[Inheritance] = []
        self._closed = False

    def on_start(self) -> None:
        """Bring back the pools that are defined, none of them active yet."""
        for stored in self._stored:
            claim, ref = Claim.of(stored.spec), PoolRef(stored.spec, self._life)
            try:
                self._pools.owner(claim)
            except PoolExists as error:
                log().error("passed over a pool definition", pool=ref.name, why=str(error))
                continue
            definition = PoolDefinition(stored.spec, stored.spec, stored.autostart)
            self._start_pool(ref, Inheritance(definition))
            self._pools.claim(ref, claim)
        self._stored = []

    def on_stop(self) -> None:
        """Have everybody know that nobody starts a pool anew any more."""
        self._life.end("the engine's actors were stopped; open a new connection")
        for left in self._to_restart:
            _let_go(left)

    def on_receive(self, message: Any) -> Any:
        """Answer; a defect is an answer too, since nobody could start this actor anew."""
        try:
            return self._HANDLERS[type(message)](self, message)
        except VolaryError as error:
            if isinstance(message, m.Request):
                raise
            # Nobody hears of it, and Pykka would stop this actor: a pool that is started anew
            # while the connection closes, say.
            log().warning("the engine passed over a message", why=str(error))
            return None
        except Exception as error:
            log().error("the engine's actor met an error of its own", exc_info=error)
            if not isinstance(message, m.Request):
                return None
            raise InternalFailure(f"the engine failed on a defect of Volary: {error!r}") from error

    def _add_pool(self, message: m.AddPool) -> None:
        if self._closed:
            raise ConnectionClosed("the engine is being closed")
        command, claim = message.command, message.claim
        ref = self._pools.owner(claim)
        if ref is None:
            ref = message.ref
            self._start_pool(ref, Inheritance(PoolDefinition(claim.spec)))
        self._pools.claim(ref, claim)
        command.job.returns(ref)
        ref.submit(command)

    def _start_pool(self, ref: PoolRef, inheritance: Inheritance) -> None:
        actor = PoolActor.start(
            self._threads,
            self.actor_ref,
            store=self._store,
            settings=self._settings,
            ledger=self._ledger,
            events=self._events,
            inheritance=inheritance,
        )
        ref.point_to(actor)

    def _find_pool(self, message: m.FindPool) -> PoolRef:
        ref = None
        if message.uuid is not None:
            ref = self._pools.get(message.uuid)
        if ref is None and message.name is not None:
            ref = self._pools.named(message.name)
        if ref is None:
            what = " or ".join(
                f"{word} {value}"
                for word, value in (
                    ("name", message.name and repr(message.name)),
                    ("UUID", message.uuid),
                )
                if value
            )
            raise PoolNotFound(f"no pool has the {what}")
        return ref

    def _find_pools_at(self, message: m.FindPoolsAt) -> tuple[PoolRef, ...]:
        return self._pools.at(message.target)

    def _list_pools(self, _: m.ListPools) -> tuple[PoolRef, ...]:
        return self._pools.all()

    def _pool_changed(self, message: m.PoolChanged) -> None:
        ref = self._pools.get(message.uuid)
        if ref is not None:
            self._pools.drop(ref, message.dropped)
            ref.target = message.definition.current.target

    def _pool_gone(self, message: m.PoolGone) -> None:
        ref = self._pools.get(message.uuid)
        if ref is not None:
            ref.gone()
            self._pools.remove(ref)
            self._crashes.pop(message.uuid, None)

    def _pool_died(self, message: m.PoolDied) -> None:
        left = message.inheritance
        ref = self._pools.get(_uuid(left))
        if ref is None or self._closed:
            _let_go(left)
            return
        if left.active is None and not left.definition.is_persistent:
            self._pool_gone(m.PoolGone(ref.uuid))  # it never came to be
            return
        if left.active is None:
            left = replace(left, definition=left.definition.at_rest())
        # What it was about to become is forgotten with the job that asked for it.
        self._pools.keep(ref, left.definition.specs())
        now = monotonic()
        crashes = self._crashes.setdefault(ref.uuid, deque(maxlen=_RESTARTS))
        if len(crashes) == _RESTARTS and now - crashes[0] < _RESTART_WINDOW:
            log().error("a pool crashes again and again: it is left inactive", pool=ref.name)
            if left.active is not None:
                self._events.of_pool(PoolEventKind.STOPPED, left.active.spec)
            _let_go(left)
            left = replace(
                left,
                definition=left.definition.at_rest(),
                active=None,
                volumes=MappingProxyType({}),
            )
        crashes.append(now)
        self._restart(ref, left)

    def _restart(self, ref: PoolRef, left: Inheritance) -> None:
        try:
            self._start_pool(ref, left)
        except InternalFailure as error:  # no thread to be had
            log().error("a pool could not be started anew yet", pool=ref.name, why=str(error))
            self._to_restart.append(left)
            self.actor_inbox.set_alarm(monotonic() + _RETRY_INTERVAL, m.Retry())
            return
        if left.active is not None:
            # Its volumes are known from before; the disk has the last word.
            job: Job[None] = Job(
                next(self._job_ids),
                "refresh pool",
                pool=ref.name,
                convert=lambda _: None,
                events=self._events,
            )
            ref.submit(m.RefreshPool(job))

    def _retry(self, _: m.Retry) -> None:
        waiting, self._to_restart = self._to_restart, []
        for left in waiting:
            ref = self._pools.get(_uuid(left))
            if ref is None or self._closed:
                _let_go(left)
            else:
                self._restart(ref, left)

    def _close(self, _: m.Close) -> tuple[PoolRef, ...]:
        self._closed = True
        return self._pools.all()

    _HANDLERS: ClassVar[dict[type, Callable[[EngineActor, Any], Any]]] = {
        m.AddPool: _add_pool,
        m.FindPool: _find_pool,
        m.FindPoolsAt: _find_pools_at,
        m.ListPools: _list_pools,
        m.PoolChanged: _pool_changed,
        m.PoolGone: _pool_gone,
        m.PoolDied: _pool_died,
        m.Retry: _retry,
        m.Close: _close,
    }


def _uuid(left: Inheritance) -> UUID:
    uuid = left.definition.current.uuid
    assert uuid is not None  # noqa: S101 - the engine gave it one
    return uuid


def _let_go(left: Inheritance) -> None:
    """Close what nobody inherits."""
    if left.active is not None:
        left.active.close()
