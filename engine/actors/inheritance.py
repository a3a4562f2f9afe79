"""What a pool's actor that crashed leaves to the one started in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from types import MappingProxyType
from typing import Any

from volary.engine.actors.job import Job
from volary.engine.backends import ActivePool
from volary.engine.pool_definition import PoolDefinition
from volary.engine.volume_info import VolumeInfo


@dataclass(frozen=True, slots=True)
class Inheritance:
    """A pool's definitions and, of one that was active, its volumes.

    readers: the jobs that read its volumes, those of other pools too, by volume's name.
    finished: its jobs that have ended.
    workers: set when the workers that still ran have ended; only then is the disk at rest.
    """

    definition: PoolDefinition
    active: ActivePool | None = None
    volumes: Mapping[str, VolumeInfo] = field(default_factory=lambda: MappingProxyType({}))
    readers: Mapping[str, tuple[Job[Any], ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    finished: tuple[Job[Any], ...] = ()
    workers: tuple[Event, ...] = ()
