"""libvirt, through libvirt-python: a program of its own, run by an interpreter that has it.

libvirt-python is built against the machine's libvirt and is rarely in Volary's environment; so
this file imports nothing of Volary's, reads one JSON object a line, does in a pool on `directory`
what its `call` says with the rest of it ("create" volumes, "clone" one, or "describe" one many
times), and answers with `seconds`: one number, or one for each time.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

URI = "storage:///system"

_POOL = "<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"
_VOLUME = (
    "<volume><name>{name}</name><capacity>{capacity}</capacity>"
    "<allocation>0</allocation><target><format type='{format_}'/></target></volume>"
)


def _serve(libvirt: Any) -> None:
    # A connection each thread: the daemon bounds the calls that one connection has under way.
    connections: list[Any] = [libvirt.open(URI)]
    calls: dict[str, Callable[..., float | list[float]]] = {
        "create": _create,
        "clone": _clone,
        "describe": _describe,
    }
    print(json.dumps({"version": connections[0].getLibVersion()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        while len(connections) < request.get("threads", 1):
            connections.append(libvirt.open(URI))
        call = calls[request.pop("call")]
        with _pool(connections[0], request.pop("directory")) as pool:
            seconds = call(connections, pool, **request)
        print(json.dumps({"seconds": seconds}), flush=True)


@contextmanager
def _pool(connection: Any, directory: str) -> Iterator[Any]:
    name = f"volary-bench-{os.getpid()}"
    pool = connection.storagePoolCreateXML(_POOL.format(name=name, path=directory), 0)
    try:
        yield pool
    finally:
        pool.destroy()


def _create(
    connections: list[Any], pool: Any, *, threads: int, count: int, capacity: int, format_: str
) -> float:
    errors: list[BaseException] = []

    def create(pool: Any, numbers: range) -> None:
        try:
            for number in numbers:
                xml = _VOLUME.format(name=f"v{number}", capacity=capacity, format_=format_)
                pool.createXML(xml, 0)
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            errors.append(error)

    workers = [
        threading.Thread(
            target=create,
            args=(
                connections[start].storagePoolLookupByName(pool.name()),
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
    if errors:
        raise errors[0]
    return seconds


def _clone(_: list[Any], pool: Any, *, source: str, name: str) -> float:
    original = pool.storageVolLookupByName(source)
    xml = _VOLUME.format(name=name, capacity=original.info()[1], format_="raw")
    began = time.perf_counter()
    pool.createXMLFrom(xml, original, 0)
    return time.perf_counter() - began


def _describe(_: list[Any], pool: Any, *, times: int) -> list[float]:
    xml = _VOLUME.format(name="v", capacity=8 << 30, format_="qcow2")
    volume = pool.createXML(xml, 0)
    taken = []
    for _time in range(times):
        began = time.perf_counter()
        volume.XMLDesc(0)
        taken.append(time.perf_counter() - began)
    volume.delete(0)
    return taken


if __name__ == "__main__":
    _serve(importlib.import_module("libvirt"))
