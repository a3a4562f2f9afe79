from __future__ import annotations

from dataclasses import replace

from volary.engine.pool_definition import PoolDefinition
from volary.engine.pool_spec import PoolSpec

ONE = PoolSpec("p", target="/one")
TWO = PoolSpec("p", target="/two")


def test_a_transient_pool_has_nothing_stored() -> None:
    definition = PoolDefinition(ONE)
    assert not definition.is_persistent
    assert definition.specs() == (ONE,)
    assert definition.next is ONE


def test_what_is_stored_holds_when_the_pool_stops() -> None:
    active = PoolDefinition(ONE, stored=TWO, autostart=True)
    assert active.is_persistent
    assert active.specs() == (ONE, TWO)
    assert active.next is TWO
    assert active.at_rest() == PoolDefinition(TWO, stored=TWO, autostart=True)
    assert active.at_rest().specs() == (TWO,)


def test_a_definition_that_is_like_the_current_one_counts_as_another() -> None:
    alike = replace(ONE)
    assert len(PoolDefinition(ONE, stored=alike).specs()) == 2
