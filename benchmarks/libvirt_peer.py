"""libvirt, through libvirt-python: a program of its own, run by an interpreter that has it.

libvirt-python is built against the machine's libvirt and is rarely in Volary's environment; so
this file imports nothing of Volary's, reads one JSON object a line (`directory`, `threads`,
`count`, `capacity`), creates that many volumes in a pool on the directory, and answers with
`seconds`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from typing import Any

URI = "storage:///system"

_POOL = "<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"
_VOLUME = (
    "<volume><name>v{number}</name><capacity>{capacity}</capacity>"
    "<allocation>0</allocation><target><format type='raw'/></target></volume>"
)


def _serve(libvirt: Any) -> None:
    # A connection each thread: the daemon bounds the calls that one connection has under way.
    connections: list[Any] = [libvirt.open(URI)]
    print(json.dumps({"version": connections[0].getLibVersion()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        while len(connections) < request["threads"]:
            connections.append(libvirt.open(URI))
        print(json.dumps({"seconds": _round(connections, **request)}), flush=True)


def _round(
    connections: list[Any], *, directory: str, threads: int, count: int, capacity: int
) -> float:
    name = f"volary-bench-{os.getpid()}"
    pool = connections[0].storagePoolCreateXML(_POOL.format(name=name, path=directory), 0)
    errors: list[BaseException] = []
    try:

        def create(pool: Any, numbers: range) -> None:
            try:
                for number in numbers:
                    pool.createXML(_VOLUME.format(number=number, capacity=capacity), 0)
            except BaseException as error:  # noqa: BLE001 - told by the main thread
                errors.append(error)

        workers = [
            threading.Thread(
                target=create,
                args=(
                    connections[start].storagePoolLookupByName(name),
                    range(start, count, threads),
                ),
            )
            for start in range(threads)
        ]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - began
    finally:
        pool.destroy()
    if errors:
        raise errors[0]
    return seconds


if __name__ == "__main__":
    _serve(importlib.import_module("libvirt"))
