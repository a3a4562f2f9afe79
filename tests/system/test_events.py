"""Events beside libvirt's, and in processes that fork or exit."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from tests.system.own_libvirtd import SystemLibvirtd

import volary
from volary import PoolEvent, PoolEventKind

RunHost = Callable[..., subprocess.CompletedProcess[str]]

_CALLS = """
t = create("t", BUILD)
refresh(t)
stop(t)
p = define("p")
define("p", p)
build(p)
start(p, 0)
define("p", p)
refresh(p)
resize(volume(p, "a"))
delete_volume(p, "a")
stop(p)
start(p, BUILD)
stop(p)
delete(p)
undefine(p)
q = create("q", BUILD)
define("q", q)
stop(q)
undefine(q)
"""
"""What both sides are told to do: each name is a function of theirs."""

_LIBVIRT = """
import json, sys, libvirt
uri, base, calls = sys.argv[1:]
libvirt.virEventRegisterDefaultImpl()
told = []
connection = libvirt.open(uri)
connection.storagePoolEventRegisterAny(
    None, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
    lambda _, pool, event, detail, more: told.append((event, pool.name())), None)
connection.storagePoolEventRegisterAny(
    None, libvirt.VIR_STORAGE_POOL_EVENT_ID_REFRESH,
    lambda _, pool, more: told.append((100, pool.name())), None)

def xml(name, known=None):
    uuid = f"<uuid>{known.UUIDString()}</uuid>" if known is not None else ""
    target = f"<target><path>{base}/{name}</path></target>"
    return f"<pool type='dir'><name>{name}</name>{uuid}{target}</pool>"

exec(calls, {
    "BUILD": libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD,
    "create": lambda name, flags: connection.storagePoolCreateXML(xml(name), flags),
    "define": lambda name, known=None: connection.storagePoolDefineXML(xml(name, known)),
    "start": lambda pool, flags: pool.create(flags),
    "build": lambda pool: pool.build(),
    "refresh": lambda pool: pool.refresh(),
    "stop": lambda pool: pool.destroy(),
    "delete": lambda pool: pool.delete(),
    "undefine": lambda pool: pool.undefine(),
    "volume": lambda pool, name: pool.createXML(
        f"<volume><name>{name}</name><capacity>1048576</capacity><allocation>0</allocation></volume>"),
    "resize": lambda volume: volume.resize(1 << 21),
    "delete_volume": lambda pool, name: pool.storageVolLookupByName(name).delete(),
})
last = (libvirt.VIR_STORAGE_POOL_EVENT_UNDEFINED, "q")
while last not in told:
    libvirt.virEventRunDefaultImpl()
print(json.dumps(told))
"""


def test_the_events_of_pools_are_libvirts(
    system_libvirtd: SystemLibvirtd,
    conn: volary.Connection,
    tmp_path: Path,
    run_host: RunHost,
) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()

    def spec(name: str, known: volary.Pool | None = None) -> volary.PoolSpec:
        uuid = None if known is None else known.uuid
        return volary.PoolSpec(name, target=ours / name, uuid=uuid)

    with conn.subscribe(kinds=PoolEventKind) as events:
        exec(
            _CALLS,
            {
                "BUILD": volary.PoolStart.BUILD,
                "create": lambda name, flags: conn.create_pool(spec(name), flags),
                "define": lambda name, known=None: conn.define_pool(spec(name, known)),
                "start": volary.Pool.start,
                "build": volary.Pool.build,
                "refresh": volary.Pool.refresh,
                "stop": volary.Pool.stop,
                "delete": volary.Pool.delete,
                "undefine": volary.Pool.undefine,
                "volume": lambda pool, name: pool.create_volume(
                    volary.VolumeSpec(name, capacity=1 << 20)
                ),
                "resize": lambda volume: volume.resize(1 << 21),
                "delete_volume": lambda pool, name: pool.volume(name).delete(),
            },
        )
        conn.close()
        told = [[event.kind, event.name] for event in events if isinstance(event, PoolEvent)]
    done = run_host(_LIBVIRT, system_libvirtd.uri, escape(str(theirs)), _CALLS)
    assert done.returncode == 0, done.stderr
    assert told == json.loads(done.stdout)


_STUCK = """
import sys, threading, volary
from volary.engine.actors import events
events._PATIENCE = 0.1
heard = threading.Event()
def callback(event):
    heard.set()
    threading.Event().wait()
conn = volary.open(state_dir=sys.argv[1])
conn.subscribe(callback)
{then}
conn.create_pool(volary.PoolSpec("p", target=sys.argv[2]), volary.PoolStart.BUILD)
heard.wait()
print("done")
"""


@pytest.mark.parametrize("then", ["", "import atexit; atexit.register(conn.close)"])
def test_a_host_with_a_callback_that_is_stuck_exits(
    tmp_path: Path, run_host: RunHost, then: str
) -> None:
    done = run_host(_STUCK.format(then=then), tmp_path / "state", tmp_path / "p")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


_FORK = """
import os, sys, threading, volary
conn = volary.open(state_dir=sys.argv[1])
kinds = [volary.PoolEventKind.STARTED]
events = conn.subscribe(kinds=kinds)
told = []
conn.subscribe(told.append, kinds=kinds)
waiting = threading.Thread(target=lambda: told.extend(events))
waiting.start()
child = os.fork()
if child == 0:
    try:
        assert list(events) == [], "the child is told nothing"
        events.close()
        try:
            conn.subscribe()
        except volary.ConnectionClosed:
            os._exit(0)
    finally:
        os._exit(1)
status = os.waitpid(child, 0)[1]
conn.create_pool(volary.PoolSpec("p", target=sys.argv[2]), volary.PoolStart.BUILD)
conn.close()
waiting.join()
print(status, len(told))
"""


def test_a_fork_is_told_nothing_and_its_parent_goes_on(tmp_path: Path, run_host: RunHost) -> None:
    done = run_host(_FORK, tmp_path / "state", tmp_path / "p")
    assert (done.stdout, done.stderr) == ("0 2\n", "")
