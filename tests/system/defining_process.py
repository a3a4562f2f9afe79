"""A process that defines and undefines pools without end, to be killed:
defining_process.py STATE TARGETS.
"""

from __future__ import annotations

import itertools
import sys
from uuid import NAMESPACE_URL, uuid5

import volary

NAMES = tuple(f"pool {number} & <co>" for number in range(4))


def spec(targets: str, name: str) -> volary.PoolSpec:
    """Return the one definition that the name has, whoever makes it."""
    return volary.PoolSpec(
        name, target=f"{targets}/{name}", uuid=uuid5(NAMESPACE_URL, name), mode=0o750, group=0
    )


def main(state: str, targets: str) -> None:
    conn = volary.open(state_dir=state)
    for pool in conn.pools():
        pool.undefine()
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    for name in itertools.cycle(NAMES):
        try:
            conn.pool(name).undefine()
        except volary.PoolNotFound:
            conn.define_pool(spec(targets, name)).autostart = True


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
