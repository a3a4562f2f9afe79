"""That libvirtd refuses the same pools for another's sake."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from tests.engine.pool_conflicts import GROUPS, Try
from tests.system.own_libvirtd import SystemLibvirtd

from volary import ErrorCode


@pytest.mark.parametrize("tries", GROUPS.values(), ids=GROUPS)
def test_libvirtd_refuses_the_same_pools(
    system_libvirtd: SystemLibvirtd, tries: tuple[Try, ...]
) -> None:
    define = system_libvirtd.connection.storagePoolDefineXML
    with ExitStack() as undo:
        for number, pool in enumerate(tries):
            document = pool.document(f"p{number}", "/tmp/nowhere")
            if pool.taken:
                with pytest.raises(system_libvirtd.libvirt.libvirtError) as refusal:
                    define(document, 0)
                assert refusal.value.get_error_code() == ErrorCode.OPERATION_FAILED
            else:
                undo.callback(define(document, 0).undefine)
