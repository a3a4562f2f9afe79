"""A process that allocates a volume, to be killed: allocating_process.py STATE TARGET BYTES."""

from __future__ import annotations

import signal
import sys

import volary


def main(state: str, target: str, size: int) -> None:
    conn = volary.open(state_dir=state)
    pool = conn.define_pool(volary.PoolSpec("images", target=target))
    pool.start(volary.PoolStart.BUILD)
    pool.autostart = True
    spec = volary.VolumeSpec("a.raw", capacity=size, preallocation="full")
    job = pool.create_volume(spec, volary.ASYNC)
    job.limit("512 MiB")  # a second: the fastest disk is not done before the kill
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    job.result()
    sys.stdout.write("created\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
