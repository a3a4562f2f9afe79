"""A connection: the way to an engine's pools."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, overload
from urllib.parse import urlsplit
from uuid import UUID

from volary.api.outcome import blocking, outcome
from volary.api.pool import Pool
from volary.api.subscription import Subscription, subscribe
from volary.api.volume import Volume
from volary.engine.actors import messages as m
from volary.engine.actors.engine import Engine
from volary.engine.actors.job import Job
from volary.engine.actors.pool_ref import PoolRef
from volary.engine.backends import BACKENDS, backend_class
from volary.engine.errors import (
    InvalidSpec,
    JobNotFound,
    PoolInactive,
    PoolNotFound,
    VolaryError,
    VolumeNotFound,
)
from volary.engine.event import Event, EventKind
from volary.engine.flags import (
    Async,
    PoolDefine,
    PoolFlags,
    PoolList,
    PoolStart,
    check_flags,
    check_start,
)
from volary.engine.pool_capabilities import write_pool_capabilities
from volary.engine.pool_document import read_pool_document
from volary.engine.pool_list import is_listed
from volary.engine.pool_source import PoolSource
from volary.engine.pool_sources_document import read_source_document
from volary.engine.pool_spec import PoolSpec, normal_target
from volary.engine.settings import Settings

SESSION = "volary:///session"
SYSTEM = "volary:///system"


def open(  # noqa: A001 - volary.open, like gzip.open
    uri: str | None = None,
    *,
    state_dir: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
) -> Connection:
    """Open a connection; it is a context manager, and safe to use from any thread.

    uri: "volary:///session" (the default) or "volary:///system": an engine in this process, for
        this user or for the host.
    state_dir: where pool definitions are kept: "$XDG_STATE_HOME/volary" for the session and
        "/var/lib/volary" for the system if not given. One engine owns it at a time.
    settings: the engine's bounds.

    Raises `StateDirectoryBusy` when another engine owns the state directory, and `InvalidSpec`
    for a URI that means nothing.
    """
    directory = default_state_dir(SESSION if uri is None else uri)
    if state_dir is not None:
        directory = os.fspath(state_dir)
    return Connection(Engine(os.path.abspath(directory), settings or Settings()))


def default_state_dir(uri: str) -> str:
    """Return the state directory that belongs to an embedded engine's URI."""
    parts = urlsplit(uri)
    if (parts.scheme, parts.netloc, parts.query) == ("volary", "", ""):
        if parts.path == "/session":
            home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
            return os.path.join(home, "volary")
        if parts.path == "/system":
            return "/var/lib/volary"
    raise InvalidSpec(f"unknown URI {uri!r}; known: {SESSION}, {SYSTEM}")


class Connection:
    """The way to an engine's pools, volumes and jobs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection to an engine on {self._engine.state_dir}>"

    @property
    def state_dir(self) -> str:
        """The engine's state directory."""
        return self._engine.state_dir

    def close(self) -> None:
        """Cancel every job, wait until they are undone, and end the engine: no thread is left.
        Pools stay as they are on disk: what is mounted for one stays mounted until that is started
        again and stopped. Closing twice does nothing.
        """
        self._engine.close()

    def pools(self, flags: int = PoolList.NONE) -> list[Pool]:
        """Return every pool, or those that the flags filter out, by name.

        flags: a pool is listed that has one of each group from which any is given: active or not,
            persistent or not, with autostart or not, and the types.
        """
        check_flags(flags, PoolList, "list pools")
        found = []
        for ref in self._engine.pools():
            with suppress(PoolNotFound):  # it went away meanwhile
                if not flags or is_listed(ref.ask(m.GetStatus()), flags):
                    found.append(Pool(self._engine, ref))
        return sorted(found, key=lambda pool: pool.name)

    def pool(self, name_or_uuid: str | UUID) -> Pool:
        """Return the pool of that name or UUID; raises `PoolNotFound`."""
        if isinstance(name_or_uuid, UUID):
            return Pool(self._engine, self._engine.find_pool(uuid=name_or_uuid))
        if not isinstance(name_or_uuid, str):
            raise InvalidSpec(f"pool {name_or_uuid!r}: give its name as a str, or its UUID")
        try:
            uuid = UUID(name_or_uuid)
        except ValueError:
            uuid = None
        return Pool(self._engine, self._engine.find_pool(name=name_or_uuid, uuid=uuid))

    def pool_by_target(self, target: str | os.PathLike[str]) -> Pool:
        """Return the pool with that target path, of several (disks at "/dev") an active one if
        there is any; raises `PoolNotFound`.
        """
        path = normal_target(target)
        refs = [ref for ref in self._engine.pools_at(path) if _is_at(ref, path)]
        if not refs:
            raise PoolNotFound(f"no pool has the target {path}")
        active = (ref for ref in refs if len(refs) == 1 or ref.ask(m.GetStatus()).active)
        return Pool(self._engine, next(active, refs[0]))

    def define_pool(self, spec: PoolSpec | str, flags: int = PoolDefine.NONE) -> Pool:
        """Define a persistent pool, from a spec or libvirt's document; it is not started.

        A pool that has the spec's name and UUID is redefined: at once, or when it is active, from
        its next start on; a transient one becomes persistent so.

        flags: `PoolDefine.VALIDATE` to refuse a document with anything in it that is not read.

        Its definition is on disk when this returns. Raises `PoolExists` when its name or UUID
        alone, its target or its source is another pool's.
        """
        check_flags(flags, PoolDefine, "define pool")
        known = _spec(spec, validate=bool(flags & PoolDefine.VALIDATE))
        job = self._engine.job("define pool", pool=known.name, convert=self._pool)
        self._engine.define_pool(job, known)
        return blocking(job)

    @overload
    def create_pool(self, spec: PoolSpec | str, flags: Async) -> Job[Pool]: ...
    @overload
    def create_pool(self, spec: PoolSpec | str, flags: PoolStart = PoolStart.NONE) -> Pool: ...
    @overload
    def create_pool(self, spec: PoolSpec | str, flags: int) -> Pool | Job[Pool]: ...
    def create_pool(self, spec: PoolSpec | str, flags: int = 0) -> Pool | Job[Pool]:
        """Start a transient pool, from a spec or libvirt's document; it is no more when stopped.

        A persistent pool of the same name and UUID, if there is one, is started from this spec;
        its stored definition holds again when it is stopped.

        flags: as of `Pool.start`.

        Raises `PoolExists` as `define_pool` does, `PoolActive`, and what its target is not.
        """
        start = check_start(flags, "create pool")
        known = _spec(spec)
        job = self._engine.job("create pool", pool=known.name, convert=self._pool)
        self._engine.create_pool(job, known, start)
        return outcome(job, flags)

    def _pool(self, ref: Any) -> Pool:
        return Pool(self._engine, ref)

    @overload
    def volume(self, *, path: str | os.PathLike[str]) -> Volume: ...
    @overload
    def volume(self, *, key: str) -> Volume: ...
    def volume(
        self, *, path: str | os.PathLike[str] | None = None, key: str | None = None
    ) -> Volume:
        """Return the volume at a path, or with a key, in whichever active pool it is.

        Raises `VolumeNotFound`.
        """
        if (path is None) == (key is None):
            raise InvalidSpec("give either a path or a key")
        try:
            if key is not None:
                uuid, _, name = key.partition("/")
                return self.pool(UUID(uuid)).volume(name)
            assert path is not None  # noqa: S101 - for the type checker
            folder, name = os.path.split(normal_target(path))
            return Pool(self._engine, self._engine.pool_of(folder, name)).volume(name)
        except (LookupError, ValueError, PoolInactive) as error:
            what = f"the key {key!r}" if key is not None else f"the path {path!r}"
            reason = f": {error}" if isinstance(error, VolaryError) else ""
            raise VolumeNotFound(f"no volume has {what}{reason}") from None

    def jobs(self) -> list[Job[Any]]:
        """Return the jobs of every pool, and of none: those that wait or run, and the last ones
        that ended.
        """
        found: list[Job[Any]] = list(self._engine.host.jobs())
        for ref in self._engine.pools():
            try:
                found += ref.ask(m.ListJobs())
            except VolaryError:  # the pool went away, or is being started anew
                continue
        return sorted(found, key=lambda job: job.id)

    def job(self, job_id: int) -> Job[Any]:
        """Return the job with that id; raises `JobNotFound`."""
        for job in self.jobs():
            if job.id == job_id:
                return job
        raise JobNotFound(f"no job has the id {job_id}: none had, or it ended long ago")

    def subscribe(
        self,
        callback: Callable[[Event], object] | None = None,
        *,
        kinds: Iterable[EventKind] | None = None,
        limit: int = 1024,
    ) -> Subscription:
        """Hear of what happens to pools, volumes and jobs from now on.

        callback: a function to be called with each event, one after the other, on a thread of the
            subscription's own; it may block, and use the connection, but not close it. What it
            raises is logged. Without one, iterate over the subscription: `for event in
            subscription`, or `async for`.
        kinds: those that are wanted, such as `[*volary.PoolEventKind, volary.JobEventKind.ENDED]`;
            all if not given.
        limit: how many events may wait for a slow listener. Of a job's progress only the newest
            waits. When there are too many, progress is dropped first, then the oldest event, as
            `Subscription.lost` tells. Nothing that is done in a pool waits for a listener.

        Whoever hears of something finds it so: a volume that was created can be looked up, and a
        job that has ended is done. Raises `InvalidSpec`, and `ConnectionClosed`.
        """
        return subscribe(self._engine.events, callback, kinds, limit)

    @overload
    def find_sources(
        self, type: str, source: PoolSource | str | None, flags: Async
    ) -> Job[list[PoolSource]]: ...
    @overload
    def find_sources(
        self, type: str, source: PoolSource | str | None = None, *, flags: Async
    ) -> Job[list[PoolSource]]: ...
    @overload
    def find_sources(
        self,
        type: str,
        source: PoolSource | str | None = None,
        flags: PoolFlags = PoolFlags.NONE,
    ) -> list[PoolSource]: ...
    @overload
    def find_sources(
        self, type: str, source: PoolSource | str | None = None, flags: int = 0
    ) -> list[PoolSource] | Job[list[PoolSource]]: ...
    def find_sources(
        self,
        type: str,  # noqa: A002 - libvirt's word
        source: PoolSource | str | None = None,
        flags: int = 0,
    ) -> list[PoolSource] | Job[list[PoolSource]]:
        """Return what pools of a type could be made of.

        type: such as "fs", for block devices with a file system, or "disk".
        source: where to look, such as the host; or libvirt's document, `<source>`. On this host
            if not given.
        flags: `ASYNC` to return the job at once.

        Raises `InvalidSpec` for a type that there is not, `BackendMissing` for one that nothing
        here can start, `NoDiscovery` for one whose sources nobody can list, and what the system
        refuses.
        """
        check_flags(flags, PoolFlags, "find sources")
        backend = backend_class(type)
        wanted = read_source_document(source, type) if isinstance(source, str) else source
        if not isinstance(wanted, PoolSource | None):
            raise InvalidSpec(
                f"find sources: {source!r} is no source; give a volary.PoolSource, or libvirt's "
                "document as a str"
            )
        job: Job[list[PoolSource]] = self._engine.job("find sources", convert=list)
        start = partial(backend.find_sources, wanted or PoolSource())
        self._engine.host.submit(m.FindSources(job, start))
        return outcome(job, flags)

    def capabilities(self) -> str:
        """Return which types of pools there are, and what they can have, as libvirt's document."""
        return write_pool_capabilities(BACKENDS)


def _is_at(ref: PoolRef, path: str) -> bool:
    """Say whether a pool's target is that path, rather than a link to it."""
    return bool(ref.target) and normal_target(ref.target) == path


def _spec(spec: PoolSpec | str, *, validate: bool = False) -> PoolSpec:
    if isinstance(spec, PoolSpec):
        return spec
    if isinstance(spec, str):
        return read_pool_document(spec, validate=validate)
    raise InvalidSpec(
        f"pool {spec!r} is no specification; "
        "give a volary.PoolSpec, or libvirt's document as a str"
    )
