"""The libvirt daemon of this machine, if it can be reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.runner import Bench

_PEER = os.path.join(os.path.dirname(__file__), "libvirt_peer.py")


class Libvirt:
    """A running peer program."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        number = self._answer()["version"]
        self.version = f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"

    def create(
        self, directory: str, count: int, capacity: int, *, format_: str, threads: int
    ) -> float:
        """Create `count` volumes with nothing allocated; return the seconds it took."""
        seconds = self._ask(
            call="create",
            directory=directory,
            threads=threads,
            count=count,
            capacity=capacity,
            format_=format_,
        )
        _forget(directory)
        return seconds

    def clone(self, directory: str, source: str, name: str) -> float:
        """Clone a raw volume of that directory to a sparse one; return the seconds it took."""
        return self._ask(call="clone", directory=directory, source=source, name=name)

    def describe(self, directory: str, times: int) -> list[float]:
        """Have it give the document of one volume so often; return the seconds of each time."""
        seconds: list[float] = self._ask_any(call="describe", directory=directory, times=times)
        return seconds

    def _ask(self, **request: str | int) -> float:
        seconds: float = self._ask_any(**request)
        return seconds

    def _ask_any(self, **request: str | int) -> Any:
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._answer()["seconds"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the libvirt peer ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _forget(directory: str) -> None:
    """Have the page cache let go of the files.

    libvirt reads the start of each volume that it made, for which the kernel reads ahead hundreds
    of KiB. A virtual machine that takes memory for that which it never touched before waits for
    its host: without this, the daemon would be up to five times slower with each round.
    """
    for entry in os.scandir(directory):
        with suppress(PermissionError):
            fd = os.open(entry.path, os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


@contextmanager
def reach(bench: Bench) -> Iterator[Libvirt | None]:
    """Give the daemon, or None when there is none, which is noted as missing."""
    python = _interpreter()
    if python is None:
        bench.lacks("libvirt: no Python interpreter here has libvirt-python")
        yield None
        return
    with subprocess.Popen(
        [python, _PEER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            try:
                peer = Libvirt(process)
            except RuntimeError:
                bench.lacks(f"libvirt: {_last_line(process)}")
                yield None
                return
            bench.say(f"libvirt {peer.version} by {python}")
            yield peer
        finally:
            process.kill()


def _last_line(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    lines = process.stderr.read().strip().splitlines()
    return lines[-1] if lines else "its peer program ended without a word"


def _interpreter() -> str | None:
    """Return the first interpreter that can import libvirt-python: ours, or one of the PATH's."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    for python in (sys.executable, *(os.path.join(folder, "python3") for folder in folders)):
        if not os.access(python, os.X_OK):
            continue
        found = subprocess.run(
            [python, "-c", "import libvirt; libvirt.open"],
            check=False,
            cwd=os.path.sep,
            capture_output=True,
        )
        if found.returncode == 0:
            return python
    return None
