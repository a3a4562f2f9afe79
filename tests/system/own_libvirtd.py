"""A libvirt daemon of the tests' own, which the machine's knows nothing of.

It is a session daemon: everything that it keeps is in the directories that it is told by the
environment. root's sessions are the machine's; so as root, it runs as nobody.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree
from tests.conftest import NeedTool
from tests.system.deadline import wait_until

_NOBODY = 65534
_POOL = "<pool type='dir'><name>images</name><target><path>{path}</path></target></pool>"
_VOLUME = re.compile(r"<volume.*?</volume>", re.DOTALL)


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
