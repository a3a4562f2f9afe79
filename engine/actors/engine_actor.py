"""The engine's actor: owns the map of pools, and starts anew those that crash."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic
from types import MappingProxyType
from typing import Any, ClassVar
from uuid import UUID

from volary.engine.actors import messages as m
from volary.engine.actors.actor import Actor
from volary.engine.actors.inheritance import Inheritance
from volary.engine.actors.job import Job
from volary.engine.actors.life import Life
from volary.engine.actors.pool_actor import PoolActor
from volary.engine.actors.pool_ref import PoolRef
from volary.engine.actors.threads import Threads
from volary.engine.definition_store import DefinitionStore
from volary.engine.errors import (
    ConnectionClosed,
    InternalFailure,
    PoolExists,
    PoolNotFound,
    VolaryError,
)
from volary.engine.log import log
from volary.engine.pool_spec import PoolSpec
from volary.engine.settings import Settings

_RESTARTS = 5
_RESTART_WINDOW = 60.0
"""A pool that crashed more than `_RESTARTS` times in so many seconds is started inactive, without
what it had in memory."""


class EngineActor(Actor):
    """The root supervisor."""

    def __init__(
        self,
        threads: Threads,
        store: DefinitionStore,
        settings: Settings,
        job_ids: itertools.count[int],
        life: Life,
    ) -> None:
        super().__init__(threads)
        self._life = life
        self._store = store
        self._settings = settings
        self._job_ids = job_ids
        self._pools: dict[UUID, PoolRef] = {}
        self._by_name: dict[str, PoolRef] = {}
        self._by_target: dict[str, PoolRef] = {}
        self._crashes: dict[UUID, deque[float]] = {}
        self._closed = False

    def on_start(self) -> None:
        """Bring back the pools that are defined, none of them active yet."""
        for stored in self._store.load():
            try:
                self._require_new(stored.spec)
            except PoolExists as error:
                log().error("passed over a pool definition", pool=stored.spec.name, why=str(error))
                continue
            self._start_pool(
                PoolRef(stored.spec, self._life),
                Inheritance(stored.spec, persistent=True, autostart=stored.autostart),
            )

    def on_stop(self) -> None:
        """Have everybody know that nobody starts a pool anew any more."""
        self._life.end("the engine's actors were stopped; open a new connection")

    def on_receive(self, message: Any) -> Any:
        """Answer; a defect is an answer too, since nobody could start this actor anew."""
        try:
            return self._HANDLERS[type(message)](self, message)
        except VolaryError as error:
            if isinstance(message, m.Request):
                raise
            self._fail(message, error)
        except Exception as error:
            log().error("the engine's actor met an error of its own", exc_info=error)
            failure = InternalFailure(f"the engine failed on a defect of Volary: {error!r}")
            if isinstance(message, m.Request):
                raise failure from error
            self._fail(message, failure)
        return None

    def _fail(self, message: Any, error: VolaryError) -> None:
        if isinstance(message, m.AddPool):
            self._threads.run(partial(message.job.fail, error))

    def _add_pool(self, message: m.AddPool) -> None:
        if self._closed:
            raise ConnectionClosed("the engine is being closed")
        spec = message.spec.with_uuid()
        self._require_new(spec)
        ref = PoolRef(spec, self._life)
        self._start_pool(ref, Inheritance(spec, persistent=message.persistent, autostart=False))
        job: Job[Any] = message.job
        job.returns(ref)
        ref.submit(
            m.DefinePool(job)
            if message.persistent
            else m.StartPool(job, build=message.build, new=True)
        )

    def _start_pool(self, ref: PoolRef, inheritance: Inheritance) -> None:
        actor = PoolActor.start(
            self._threads, self.actor_ref, self._store, self._settings, inheritance
        )
        ref.point_to(actor)
        self._pools[ref.uuid] = self._by_name[ref.name] = self._by_target[ref.target] = ref

    def _require_new(self, spec: PoolSpec) -> None:
        for what, other in (
            (f"name {spec.name!r}", self._by_name.get(spec.name)),
            (f"UUID {spec.uuid}", self._pools.get(spec.uuid) if spec.uuid else None),
            (f"target {spec.target}", self._by_target.get(spec.target)),
        ):
            if other is not None:
                raise PoolExists(
                    f"pool {spec.name!r} cannot have the {what}: pool {other.name!r} "
                    f"({other.uuid}) has it; choose another, or undefine that pool"
                )

    def _find_pool(self, message: m.FindPool) -> PoolRef:
        ref = None
        if message.uuid is not None:
            ref = self._pools.get(message.uuid)
        if ref is None and message.name is not None:
            ref = self._by_name.get(message.name)
        if ref is None and message.target is not None:
            ref = self._by_target.get(message.target)
        if ref is None:
            what = " or ".join(
                f"{word} {value}"
                for word, value in (
                    ("name", message.name and repr(message.name)),
                    ("UUID", message.uuid),
                    ("target", message.target),
                )
                if value
            )
            raise PoolNotFound(f"no pool has the {what}")
        return ref

    def _list_pools(self, _: m.ListPools) -> tuple[PoolRef, ...]:
        return tuple(self._pools.values())

    def _pool_gone(self, message: m.PoolGone) -> None:
        ref = self._pools.pop(message.uuid)
        ref.gone()
        del self._by_name[ref.name]
        del self._by_target[ref.target]
        self._crashes.pop(message.uuid, None)

    def _pool_died(self, message: m.PoolDied) -> None:
        left = message.inheritance
        assert left.spec.uuid is not None  # noqa: S101 - it had one
        ref = self._pools.get(left.spec.uuid)
        if ref is None or self._closed:
            return
        now = monotonic()
        crashes = self._crashes.setdefault(ref.uuid, deque(maxlen=_RESTARTS))
        if len(crashes) == _RESTARTS and now - crashes[0] < _RESTART_WINDOW:
            log().error("a pool crashes again and again: it is left inactive", pool=ref.name)
            left = replace(left, active=None, volumes=MappingProxyType({}))
        crashes.append(now)
        self._start_pool(ref, left)
        if left.active is not None:
            # Its volumes are known from before; the disk has the last word.
            job: Job[None] = Job(
                next(self._job_ids), "refresh pool", pool=ref.name, convert=lambda _: None
            )
            ref.submit(m.RefreshPool(job))

    def _close(self, _: m.Close) -> tuple[PoolRef, ...]:
        self._closed = True
        return tuple(self._pools.values())

    _HANDLERS: ClassVar[dict[type, Callable[[EngineActor, Any], Any]]] = {
        m.AddPool: _add_pool,
        m.FindPool: _find_pool,
        m.ListPools: _list_pools,
        m.PoolGone: _pool_gone,
        m.PoolDied: _pool_died,
        m.Close: _close,
    }
