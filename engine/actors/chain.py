"""Following a backing chain from volume to volume, across pools."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from volary.engine.actors import messages as m
from volary.engine.actors.job import Job
from volary.engine.actors.leased_volume import LeasedVolume
from volary.engine.actors.pool_ref import PoolRef
from volary.engine.backing_chain import MAX_DEPTH, MAX_OPENED, ChainLink
from volary.engine.errors import PoolInactive, VolaryError, VolumeNotFound, VolumeUnreadable
from volary.engine.formats.local_path import local_path
from volary.engine.image_info import BackingFile
from volary.engine.names import name_problem
from volary.engine.pool_spec import normal_target
from volary.engine.volume_details import BackingDetails, VolumeDetails
from volary.engine.volume_info import VolumeInfo

if TYPE_CHECKING:
    from volary.engine.actors.engine import Engine


class BackingOutside(VolumeUnreadable):
    """A backing file is no volume of a pool."""


class _Walk:
    """One way down a chain: where it is, and where it has been."""

    def __init__(self, engine: Engine, ref: PoolRef, name: str, most: int = MAX_OPENED) -> None:
        self._engine = engine
        self._most = most
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
            raise BackingOutside(
                f"backing file {backing.name!r} is no local path, and is not opened"
            )
        folder, name = os.path.split(path)
        if name_problem(name) is not None:
            raise BackingOutside(f"backing file {backing.name!r} is no volume")
        try:
            ref = self._engine.pool_of(folder, name)
        except VolaryError:
            raise BackingOutside(
                f"backing file {backing.name!r} is in no pool, and is not opened: define a pool "
                f"with the target {folder}, and start it"
            ) from None
        if (ref.uuid, name) in self._seen:
            raise VolumeUnreadable(f"backing file {backing.name!r} is backed by itself: a loop")
        if len(self._seen) == self._most:
            raise VolumeUnreadable(f"the chain has more than {self._most} images")
        self._seen.add((ref.uuid, name))
        self.ref, self.name = ref, name


def follow(engine: Engine, ref: PoolRef, name: str) -> tuple[ChainLink, ...]:
    """Return what is known of a volume and of all that it is backed by.

    Raises `VolumeNotFound` when the volume itself is not there; what is wrong further down is
    told by the last link.
    """
    walk = _Walk(engine, ref, name, MAX_DEPTH)
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


def describe(engine: Engine, ref: PoolRef, name: str) -> VolumeDetails:
    """Return all that is known of a volume, and of the image that it is backed by what that says
    if it is a volume of an active pool.

    Raises `VolumeNotFound` when the volume itself is not there.
    """
    details = ref.ask(m.DescribeVolume(name))
    backing = _backing(details.info)
    if backing is None:
        return details
    walk = _Walk(engine, ref, name)
    below = BackingDetails(walk.path_of(backing) or backing.name, backing.format)
    with suppress(VolaryError):
        walk.go_to(backing)
        found = walk.ref.ask(m.DescribeVolume(walk.name, backing.format))
        below = BackingDetails(below.path, found.info.format, found.inode)
    return replace(details, backing=below)


def lease(
    engine: Engine, job: Job[Any], ref: PoolRef, name: str, *, trust: bool
) -> tuple[LeasedVolume, ...]:
    """Have a volume and all that it is backed by leased to `job` until it is over.

    trust: whether to follow what a header says that Volary did not write.

    Raises what keeps any of them from being read.
    """
    return _lease(_Walk(engine, ref, name), job, None, trust=trust)


def lease_backing(
    engine: Engine, job: Job[Any], ref: PoolRef, name: str, backing: BackingFile
) -> LeasedVolume:
    """Have what a volume `name` is to be backed by leased.

    What is below that is looked at, so that no loop is made, and not read. Raises
    `BackingOutside` when the backing file is no volume of a pool.
    """
    walk = _Walk(engine, ref, name, MAX_DEPTH)
    walk.go_to(backing)
    base = _lease_one(walk, job, backing.format)
    info = base.info
    with suppress(BackingOutside, VolumeNotFound, PoolInactive):  # the chain ends, well or badly
        while (below := _backing(info)) is not None:
            walk.go_to(below)
            info = walk.ref.ask(m.InspectVolume(walk.name, below.format))
    return base


def lease_below(
    engine: Engine, job: Job[Any], ref: PoolRef, name: str, info: VolumeInfo, *, trust: bool
) -> tuple[LeasedVolume, ...]:
    """Have all that the volume `name` is backed by leased, as `lease` does."""
    backing = _backing(info)
    if backing is None:
        return ()
    walk = _Walk(engine, ref, name)
    _require_trust(f"volume {name!r} of pool {ref.name!r}", info, backing, trust=trust)
    walk.go_to(backing)
    return _lease(walk, job, backing.format, trust=trust)


def _lease(
    walk: _Walk, job: Job[Any], format_: str | None, *, trust: bool
) -> tuple[LeasedVolume, ...]:
    volumes = [_lease_one(walk, job, format_)]
    while (backing := _backing(volumes[-1].info)) is not None:
        where = f"volume {walk.name!r} of pool {walk.ref.name!r}"
        _require_trust(where, volumes[-1].info, backing, trust=trust)
        try:
            walk.go_to(backing)
            volumes.append(_lease_one(walk, job, backing.format))
        except (VolumeUnreadable, VolumeNotFound) as error:
            raise type(error)(f"{where} is backed by {backing.name!r}: {error}") from error
    return tuple(volumes)


def _lease_one(walk: _Walk, job: Job[Any], format_: str | None) -> LeasedVolume:
    info = walk.ref.ask(m.LeaseVolume(job, walk.name, format_))
    problem = _problem(info)
    if problem is not None:
        raise VolumeUnreadable(
            f"volume {walk.name!r} of pool {walk.ref.name!r} is no whole {info.format}: {problem}"
        )
    return LeasedVolume(walk.ref, job, walk.name, format_, info)


def _require_trust(where: str, info: VolumeInfo, backing: BackingFile, *, trust: bool) -> None:
    """Whoever brought an image may have named somebody else's volume in its header."""
    if not (trust or info.trusted):
        raise VolumeUnreadable(
            f"{where} says itself that it is backed by {backing.name!r}, and was not created here "
            "so: whoever made it could name any volume; if you trust it, say so (trust_backing)"
        )


def _backing(info: VolumeInfo) -> BackingFile | None:
    return None if info.image is None else info.image.backing


def _problem(info: VolumeInfo) -> str | None:
    return None if info.image is None else info.image.problem
