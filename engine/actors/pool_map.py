"""The pools of an engine, by all that one can be found by."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from uuid import UUID

from volary.engine.actors.pool_ref import PoolRef
from volary.engine.errors import PoolExists
from volary.engine.pool_conflict import Claim, conflict
from volary.engine.pool_spec import PoolSpec


class PoolMap:
    """The pools of an engine, and what they claim: the definitions that they have, and those that
    they are about to have. Used by the engine's actor only.
    """

    def __init__(self) -> None:
        self._by_uuid: dict[UUID, PoolRef] = {}
        self._by_name: dict[str, PoolRef] = {}
        self._claims: dict[UUID, list[Claim]] = {}
        # By what two claims may conflict about, so that not each one is compared with all.
        self._by_key: dict[Hashable, list[tuple[PoolRef, Claim]]] = {}

    def all(self) -> tuple[PoolRef, ...]:
        """Return every pool."""
        return tuple(self._by_uuid.values())

    def get(self, uuid: UUID) -> PoolRef | None:
        """Return the pool of that UUID."""
        return self._by_uuid.get(uuid)

    def named(self, name: str) -> PoolRef | None:
        """Return the pool of that name."""
        return self._by_name.get(name)

    def at(self, target: str) -> tuple[PoolRef, ...]:
        """Return the pools that have this target now, or else those whose target leads there."""
        for key in ("target", target), ("place", target):
            found = [
                ref for ref, claim in self._by_key.get(key, ()) if claim.spec.target == ref.target
            ]
            if found:
                return tuple(dict.fromkeys(found))
        return ()

    def owner(self, claim: Claim) -> PoolRef | None:
        """Return the pool whose name and UUID a definition has; None if it is a new one's.

        Raises `PoolExists` when another pool has its name, its UUID, its target or its source.
        """
        spec = claim.spec
        assert spec.uuid is not None  # noqa: S101 - the engine gave it one
        # In libvirt's order: which error is told when there are two reasons depends on it.
        for key in claim.parts():
            for ref, other in self._by_key.get(key, ()):
                shared = None if ref.name == spec.name else conflict(claim, other)
                if shared is not None:
                    raise _taken(spec, shared, ref)
        known, named = self._by_uuid.get(spec.uuid), self._by_name.get(spec.name)
        if known is not None and known is not named:
            raise _taken(spec, f"UUID {spec.uuid}", known)
        if named is not None and named is not known:
            raise _taken(spec, f"name {spec.name!r}", named, "or give its UUID, to redefine it, ")
        return known

    def claim(self, ref: PoolRef, claim: Claim) -> None:
        """Have a pool, which may be a new one, claim a definition."""
        self._by_uuid[ref.uuid] = self._by_name[ref.name] = ref
        self._claims.setdefault(ref.uuid, []).append(claim)
        for key in claim.parts():
            self._by_key.setdefault(key, []).append((ref, claim))

    def drop(self, ref: PoolRef, specs: Iterable[PoolSpec]) -> None:
        """Have a pool claim these definitions no more."""
        claims = self._claims[ref.uuid]
        for spec in specs:
            claim = next((claim for claim in claims if claim.spec is spec), None)
            if claim is not None:
                claims.remove(claim)
                self._forget(claim)

    def keep(self, ref: PoolRef, specs: Iterable[PoolSpec]) -> None:
        """Have a pool claim these of its definitions and no others."""
        kept = list(specs)
        self.drop(
            ref,
            [
                claim.spec
                for claim in self._claims[ref.uuid]
                if all(claim.spec is not spec for spec in kept)
            ],
        )

    def remove(self, ref: PoolRef) -> None:
        """Forget a pool."""
        del self._by_uuid[ref.uuid]
        del self._by_name[ref.name]
        for claim in self._claims.pop(ref.uuid):
            self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        for key in claim.parts():
            left = [entry for entry in self._by_key.pop(key, ()) if entry[1] is not claim]
            if left:
                self._by_key[key] = left


def _taken(spec: PoolSpec, what: str, other: PoolRef, way: str = "") -> PoolExists:
    return PoolExists(
        f"pool {spec.name!r} cannot have the {what}: pool {other.name!r} ({other.uuid}) has it; "
        f"choose another, {way}or undefine that pool"
    )
