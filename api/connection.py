"""A connection: the way to an engine's pools."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self, overload
from urllib.parse import urlsplit
from uuid import UUID

from volary.api.outcome import blocking, outcome
from volary.api.pool import Pool
from volary.api.volume import Volume
from volary.engine.actors import messages as m
from volary.engine.actors.engine import Engine
from volary.engine.actors.job import Job
from volary.engine.errors import InvalidSpec, JobNotFound, VolaryError, VolumeNotFound
from volary.engine.flags import Async, PoolStart, check_flags
from volary.engine.pool_document import read_pool_document
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
        Pools stay as they are on disk. Closing twice does nothing.
        """
        self._engine.close()

    def pools(self) -> list[Pool]:
        """Return every pool, by name."""
        return sorted(
            (Pool(self._engine, ref) for ref in self._engine.pools()), key=lambda p: p.name
        )

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
        """Return the pool with that target path; raises `PoolNotFound`."""
        return Pool(self._engine, self._engine.find_pool(target=normal_target(target)))

    def define_pool(self, spec: PoolSpec | str) -> Pool:
        """Define a persistent pool, from a spec or libvirt's document; it is not started.

        Its definition is on disk when this returns. Raises `PoolExists` when its name, UUID or
        target is another pool's.
        """
        known = _spec(spec)
        job = self._engine.job("define pool", pool=known.name, convert=self._pool)
        self._engine.add_pool(job, known, persistent=True, build=False)
        return blocking(job)

    @overload
    def create_pool(self, spec: PoolSpec | str, flags: Async) -> Job[Pool]: ...
    @overload
    def create_pool(self, spec: PoolSpec | str, flags: PoolStart = PoolStart.NONE) -> Pool: ...
    @overload
    def create_pool(self, spec: PoolSpec | str, flags: int) -> Pool | Job[Pool]: ...
    def create_pool(self, spec: PoolSpec | str, flags: int = 0) -> Pool | Job[Pool]:
        """Start a transient pool, from a spec or libvirt's document; it is no more when stopped.

        With `PoolStart.BUILD` its target is built first. Raises `PoolExists`, and what its target
        is not.
        """
        check_flags(flags, PoolStart, "create pool")
        known = _spec(spec)
        job = self._engine.job("create pool", pool=known.name, convert=self._pool)
        self._engine.add_pool(job, known, persistent=False, build=bool(flags & PoolStart.BUILD))
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
            ref = self._engine.find_pool(target=folder, place=folder)
            return Pool(self._engine, ref).volume(name)
        except (LookupError, ValueError) as error:
            what = f"the key {key!r}" if key is not None else f"the path {path!r}"
            reason = f": {error}" if isinstance(error, VolaryError) else ""
            raise VolumeNotFound(f"no volume has {what}{reason}") from None

    def jobs(self) -> list[Job[Any]]:
        """Return the jobs of every pool: those that wait or run, and the last ones that ended."""
        found: list[Job[Any]] = []
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


def _spec(spec: PoolSpec | str) -> PoolSpec:
    if isinstance(spec, PoolSpec):
        return spec
    if isinstance(spec, str):
        return read_pool_document(spec)
    raise InvalidSpec(
        f"pool {spec!r} is no specification; "
        "give a volary.PoolSpec, or libvirt's document as a str"
    )
