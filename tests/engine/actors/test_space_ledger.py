from __future__ import annotations

from uuid import uuid4

from volary.engine.actors.space_ledger import SpaceLedger


def test_pools_on_one_device_share_its_promises() -> None:
    ledger, one, two = SpaceLedger(), uuid4(), uuid4()
    ledger.promise(7, one, 100)
    ledger.promise(7, two, 20)
    ledger.promise(8, two, 5)
    assert [ledger.promised(device) for device in (7, 8, 9)] == [120, 5, 0]


def test_a_promise_replaces_the_one_before() -> None:
    ledger, pool = SpaceLedger(), uuid4()
    for size in (100, 50, 0):
        ledger.promise(7, pool, size)
        assert ledger.promised(7) == size
