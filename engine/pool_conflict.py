"""Which two pools would be one: those of one target, or of one source.

The rules for sources are libvirt 9.0.0's, as it was seen to follow them, with what it takes for
one source and what not. Its rule for directories is for type "dir" alone, and compares paths;
here, two pools of any type whose volumes are files must not have one directory, be it by a link:
a file would have two keys and two owners.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Final

from volary.engine.pool_source import FcHostAdapter, PoolSource, ScsiHostAdapter
from volary.engine.pool_spec import PoolSpec, normal_target

_OF_FILES: Final = frozenset({"dir", "fs", "netfs", "vstorage"})
_OF_DEVICES: Final = frozenset({"fs", "logical", "disk", "zfs", "iscsi"})
_SCSI_HOST = re.compile(r"(?:scsi_|fc_)?host([0-9]+)")


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A definition that is some pool's, or is to be. A pool may have two that are alike.

    place: its target without links, as realpath(3) says; "" for one without a target.
    """

    spec: PoolSpec
    place: str

    @classmethod
    def of(cls, spec: PoolSpec) -> Claim:
        """Return the claim of a definition, having looked where its target leads."""
        return cls(spec, os.path.realpath(spec.target) if spec.target else "")

    def parts(self) -> Iterator[Hashable]:
        """Yield what it is made of: two claims that `conflict` have one of these in common."""
        spec, source = self.spec, self.spec.source
        if spec.target:
            yield "target", normal_target(spec.target)
            yield "place", self.place
        if spec.type in _OF_DEVICES:
            for device in source.devices:
                yield "device", device.path
        elif spec.type in _SAME_SOURCE:
            yield "type", spec.type


def conflict(wanted: Claim, other: Claim) -> str | None:
    """Return what a pool that is wanted would share with another one, or None."""
    spec, known = wanted.spec, other.spec
    if spec.type in _OF_FILES and known.type in _OF_FILES:
        if normal_target(spec.target) == normal_target(known.target):
            return f"target {spec.target}"
        if wanted.place == other.place:
            return f"target {spec.target}, which is {wanted.place}"
    if spec.type in _OF_DEVICES and known.type in _OF_DEVICES:
        return _shared_device(spec, known)
    same = _SAME_SOURCE.get(spec.type)
    if same is None or spec.type != known.type or not same(spec.source, known.source):
        return None
    return "source"


def _shared_device(spec: PoolSpec, known: PoolSpec) -> str | None:
    """Return the device that is in both; a remote target is no device of this host."""
    if (spec.type == "iscsi") != (known.type == "iscsi"):
        return None
    if spec.type == "iscsi" and spec.source.initiator != known.source.initiator:
        return None
    taken = {device.path for device in known.source.devices}
    shared = next((it.path for it in spec.source.devices if it.path in taken), None)
    return None if shared is None else f"source device {shared}"


def _same_host(wanted: PoolSource, known: PoolSource) -> bool:
    """A port that is not given is any; those of further hosts are alternatives."""
    if not wanted.hosts or not known.hosts or len(wanted.hosts) > 1 < len(known.hosts):
        return False
    host, other = wanted.hosts[0], known.hosts[0]
    return host.name == other.name and host.port in (0, other.port)


def _same_export(wanted: PoolSource, known: PoolSource) -> bool:
    return wanted.directory == known.directory and _same_host(wanted, known)


def _same_volume(wanted: PoolSource, known: PoolSource) -> bool:
    return wanted.name == known.name and _same_export(wanted, known)


def _same_name(wanted: PoolSource, known: PoolSource) -> bool:
    return wanted.name == known.name


def _same_adapter(wanted: PoolSource, known: PoolSource) -> bool:
    match wanted.adapter, known.adapter:
        case FcHostAdapter() as host, FcHostAdapter() as other:
            return (host.wwnn, host.wwpn) == (other.wwnn, other.wwpn)
        case ScsiHostAdapter() as host, ScsiHostAdapter() as other:
            if host.parent_address is not None and host.parent_address == other.parent_address:
                return True
            return _same_number(host.name, other.name)
        case (ScsiHostAdapter() as host, FcHostAdapter() as fibre) | (
            FcHostAdapter() as fibre,
            ScsiHostAdapter() as host,
        ):
            return _same_number(host.name, fibre.parent)
    return False


def _same_number(name: str | None, other: str | None) -> bool:
    """Say whether two names, such as "host2" and "scsi_host2", are of one SCSI host."""
    number, another = _SCSI_HOST.fullmatch(name or ""), _SCSI_HOST.fullmatch(other or "")
    return number is not None and another is not None and int(number[1]) == int(another[1])


_SAME_SOURCE: Final[dict[str, Callable[[PoolSource, PoolSource], bool]]] = {
    "netfs": _same_export,
    "scsi": _same_adapter,
    "mpath": lambda _wanted, _known: True,  # all of the host's multipath devices
    "sheepdog": _same_host,
    "gluster": _same_volume,
    "vstorage": _same_name,
}
"""What makes two sources of one type one; those of "rbd" and "iscsi-direct" may be shared."""
