"""Following a backing chain from volume to volume, across pools."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from volary.engine.actors import messages as m
from volary.engine.actors.job import Job
from volary.engine.actors.pool_ref import PoolRef
from volary.engine.backends import OpenVolume
from volary.engine.backing_chain import MAX_DEPTH, ChainLink
from volary.engine.errors import VolaryError, VolumeUnreadable
from volary.engine.formats.local_path import local_path
from volary.engine.image_info import BackingFile
from volary.engine.names import name_problem
from volary.engine.pool_spec import normal_target
from volary.engine.volume_info import VolumeInfo

if TYPE_CHECKING:
    from volary.engine.actors.engine import Engine


class _Walk:
    """One way down a chain: where it is, and where it has been."""

    def __init__(self, engine: Engine, ref: PoolRef, name: str) -> None:
        self._engine = engine
        self._seen = {(ref.uuid, name)}
        self.ref = ref
        self.name = name

    def path_of(self, backing: BackingFile) -> str | None:
        """Return where the backing file is, or None when its name is no local path."""
        path = local_path(backing.name)
        # By the letters alone: links below are nobody's to follow because of a header.
        return None if path is None else normal_target(os.path.join(self.ref.target, path))

    def go_to(self, backing: BackingFile) -> None:
        """Go to the volume that is the backing file; raises an error that says why not."""
        path = self.path_of(backing)
        if path is None:
            raise VolumeUnreadable(
                f"backing file {backing.name!r} is no local path, and is not opened"
            )
        folder, name = os.path.split(path)
        if name_problem(name) is not None:
            raise VolumeUnreadable(f"backing file {backing.name!r} is no volume")
        try:
            ref = self._engine.find_pool(target=folder, place=folder)
        except VolaryError:
            raise VolumeUnreadable(
                f"backing file {backing.name!r} is in no pool, and is not opened: define a pool "
                f"with the target {folder}, and start it"
            ) from None
        if (ref.uuid, name) in self._seen:
            raise VolumeUnreadable(f"backing file {backing.name!r} is backed by itself: a loop")
        if len(self._seen) == MAX_DEPTH:
            raise VolumeUnreadable(f"the chain has more than {MAX_DEPTH} images")
        self._seen.add((ref.uuid, name))
        self.ref, self.name = ref, name


def follow(engine: Engine, ref: PoolRef, name: str) -> tuple[ChainLink, ...]:
    """Return what is known of a volume and of all that it is backed by.

    Raises `VolumeNotFound` when the volume itself is not there; what is wrong further down is
    told by the last link.
    """
    walk = _Walk(engine, ref, name)
    info = ref.ask(m.InspectVolume(name))
    path = os.path.join(ref.target, name)
    links = [ChainLink(path, path, info.format, ref.name, name, info, _problem(info))]
    while (backing := _backing(info)) is not None:
        below = walk.path_of(backing)
        try:
            walk.go_to(backing)
            info = walk.ref.ask(m.InspectVolume(walk.name, backing.format))
        except VolaryError as error:
            links.append(ChainLink(backing.name, below, backing.format, problem=str(error)))
            break
        links.append(
            ChainLink(
                backing.name, below, info.format, walk.ref.name, walk.name, info, _problem(info)
            )
        )
    return tuple(links)


def lease(engine: Engine, job: Job[Any], ref: PoolRef, name: str) -> tuple[OpenVolume, ...]:
    """Open a volume and all that it is backed by, each one leased to `job` until it is over.

    Raises what keeps any of them from being opened.
    """
    return _lease(_Walk(engine, ref, name), job, None)


def _lease(walk: _Walk, job: Job[Any], format_: str | None) -> tuple[OpenVolume, ...]:
    volumes = [_open(walk, job, format_)]
    while (backing := _backing(volumes[-1].info)) is not None:
        try:
            walk.go_to(backing)
            volumes.append(_open(walk, job, backing.format))
        except VolumeUnreadable as error:
            raise VolumeUnreadable(f"{volumes[-1].path}: {error}") from error
    return tuple(volumes)


def _open(walk: _Walk, job: Job[Any], format_: str | None) -> OpenVolume:
    volume = walk.ref.ask(m.LeaseVolume(job, walk.name, format_))
    job.at_end(volume.close)
    problem = _problem(volume.info)
    if problem is not None:
        raise VolumeUnreadable(f"{volume.path} is no whole {volume.info.format}: {problem}")
    return volume


def _backing(info: VolumeInfo) -> BackingFile | None:
    return None if info.image is None else info.image.backing


def _problem(info: VolumeInfo) -> str | None:
    return None if info.image is None else info.image.problem


def lease_backing(
    engine: Engine, job: Job[Any], ref: PoolRef, name: str, backing: BackingFile
) -> tuple[OpenVolume, ...]:
    """Open what a volume `name` that is to be made is backed by, as `lease` does."""
    walk = _Walk(engine, ref, name)
    walk.go_to(backing)
    return _lease(walk, job, backing.format)
