"""libvirt daemons of the tests' own, which the machine's knows nothing of.

`own_libvirt` is a session's: everything that it keeps is in the directories that it is told by
the environment. root's sessions are the machine's; so as root, it runs as nobody.

`system_libvirtd` is a system's, with all of libvirt's kinds of pools: what is the machine's is
hidden from it by directories that only it has mounted in their place.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from lxml import etree
from tests.conftest import NeedTool
from tests.system.deadline import wait_until

_NOBODY = 65534
_POOL = "<pool type='dir'><name>images</name><target><path>{path}</path></target></pool>"
_VOLUME = re.compile(r"<volume.*?</volume>", re.DOTALL)

_HIDDEN = {
    "etc": "/etc/libvirt",
    "run": "/run/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
_HIDE = """\
home=$1; shift
while [ $# -gt 1 ]; do mkdir -p "$2" && mount --bind "$home/$1" "$2" || exit 1; shift 2; done
exec "$1" --config "$home/libvirtd.conf" --pid-file "$home/pid" >"$home/output" 2>&1
"""
_CONFIGURATION = """\
unix_sock_dir = "{home}/socket"
auth_unix_ro = "none"
auth_unix_rw = "none"
"""


class OwnLibvirt:
    """A running daemon; `images` is the directory that its pool is on."""

    def __init__(self, home: Path, virsh: str, identity: dict[str, Any]) -> None:
        self._virsh = [virsh, "--quiet", "--connect", "storage:///session"]
        self._identity = identity
        self._home = home
        self.images = home / "images"

    def answers(self) -> bool:
        """Say whether it can be talked to."""
        return "images" in self._run("pool-list --all") or self._create_pool()

    def _create_pool(self) -> bool:
        (self._home / "pool.xml").write_text(_POOL.format(path=escape(str(self.images))))
        return "created" in self._run(f"pool-create {self._home / 'pool.xml'}")

    def refresh(self) -> dict[str, etree._Element]:
        """Have it look at what is in the directory, and return its documents by file name."""
        for path in self.images.rglob("*"):
            path.chmod(0o644)
        names = sorted(path.name for path in self.images.iterdir())
        commands = ["pool-refresh images", *(f"vol-dumpxml '{name}' images" for name in names)]
        found = {}
        for document in _VOLUME.findall(self._run("\n".join(commands))):
            volume = etree.fromstring(document)
            found[str(volume.findtext("name"))] = volume
        return found

    def _run(self, commands: str) -> str:
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            self._virsh,
            input=commands.encode(),  # not an argument, since it goes on after an error then
            capture_output=True,
            check=False,
            **self._identity,
        )
        return done.stdout.decode("utf-8", "replace")


@contextmanager
def own_libvirt(need_tool: NeedTool) -> Iterator[OwnLibvirt]:
    """Start the daemon and a pool, and end it."""
    daemon = need_tool("libvirtd", "libvirt-daemon")
    virsh = need_tool("virsh", "libvirt-clients")
    # Not below the tests' directory, which is root's alone; nor a long name, for a socket's path.
    home = Path(tempfile.mkdtemp(prefix="volary-libvirt-"))
    try:
        for name in ("run", "config", "cache", "data", "images"):
            (home / name).mkdir()
        identity: dict[str, Any] = {
            "env": {
                "PATH": os.environ["PATH"],
                "HOME": str(home),
                "LIBVIRT_AUTOSTART": "0",
                "XDG_RUNTIME_DIR": str(home / "run"),
                "XDG_CONFIG_HOME": str(home / "config"),
                "XDG_CACHE_HOME": str(home / "cache"),
                "XDG_DATA_HOME": str(home / "data"),
            }
        }
        if os.geteuid() == 0:
            identity |= {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
            for path in (home, *home.iterdir()):
                os.chown(path, _NOBODY, _NOBODY)
        with subprocess.Popen(
            [daemon], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **identity
        ) as process:
            try:
                libvirt = OwnLibvirt(home, virsh, identity)
                wait_until(libvirt.answers, "a libvirt daemon of our own has a pool")
                yield libvirt
            finally:
                process.terminate()
    finally:
        shutil.rmtree(home)


class SystemLibvirtd:
    """A running system daemon.

    libvirt: the module libvirt-python.
    connection: an open `libvirt.virConnect`.
    uri: what `libvirt.open` and `virsh --connect` reach it by.
    storage: the directory of its pools' definitions (its /etc/libvirt/storage).
    root: the root directory as it sees it, with the file systems that it mounted.
    """

    def __init__(self, home: Path, libvirt: Any, process: subprocess.Popen[bytes]) -> None:
        self._home = home
        self._process = process
        self.libvirt = libvirt
        self.connection: Any = None
        self.uri = f"storage+unix:///system?socket={home}/socket/libvirt-sock"
        self.storage = home / "etc" / "storage"
        self.root = Path(f"/proc/{process.pid}/root")

    def answers(self) -> bool:
        """Say whether it can be talked to, and open the connection."""
        if self._process.poll() is not None:
            pytest.fail(f"libvirtd ended: {(self._home / 'output').read_text()}")
        try:
            self.connection = self.libvirt.open(self.uri)
        except self.libvirt.libvirtError:
            return False
        return True


@pytest.fixture(scope="session")
def system_libvirtd(need_root: None, need_tool: NeedTool) -> Iterator[SystemLibvirtd]:
    """Start a system daemon in a mount namespace of its own, and end it."""
    libvirt = pytest.importorskip(
        "libvirt", reason="libvirt-python is missing: install the package libvirt-dev and build it"
    )
    libvirt.registerErrorHandler(lambda *_: None, None)  # it would write every refusal to stderr
    commands = (
        # Ends with the tests, however they end.
        *(need_tool("setpriv", "util-linux"), "--pdeathsig", "TERM"),
        *(need_tool("unshare", "util-linux"), "--mount", "sh", "-c", _HIDE, "sh"),
    )
    daemon = need_tool("libvirtd", "libvirt-daemon")
    with ExitStack() as ending:
        home = Path(tempfile.mkdtemp(prefix="volary-libvirtd-"))
        ending.callback(shutil.rmtree, home)
        for name in (*_HIDDEN, "socket"):
            (home / name).mkdir()
        (home / "libvirtd.conf").write_text(_CONFIGURATION.format(home=home))
        hidden = [word for pair in _HIDDEN.items() for word in pair]
        process = ending.enter_context(
            subprocess.Popen([*commands, str(home), *hidden, daemon], stdin=subprocess.DEVNULL)
        )
        ending.callback(process.terminate)
        system = SystemLibvirtd(home, libvirt, process)
        wait_until(system.answers, "a libvirt daemon of our own answers")
        ending.callback(system.connection.close)
        yield system
