"""Running scenarios: where they keep their files, what they say meanwhile, what is left after."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import secrets
import shutil
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TypeAlias

import volary

Figures: TypeAlias = dict[str, float]
"""What a scenario found: names that end in their unit (`_s`, `_per_s`, `_bytes`, `_ratio`)."""

_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_FS_TOPDIR_FL = 0x00020000


@dataclass
class Bench:
    """What a scenario is given.

    directory: an absolute path, fresh, for this scenario alone; removed after the last scenario.
    quick: whether to be done in some seconds rather than to be exact.
    missing: what this machine has not, for the last lines of the report.
    """

    directory: str
    quick: bool
    missing: list[str] = field(default_factory=list)

    def fresh(self, name: str) -> str:
        """Make a directory, and return its path."""
        path = self.unused(name)
        os.mkdir(path)
        return path

    def unused(self, name: str) -> str:
        """Return a path for a directory that `name` is a part of.

        The rest is random: ext4 chooses a top directory's block group by its name, and the last
        run's groups are to be avoided, as `_spread` says.
        """
        return os.path.join(self.directory, f"{name}-{secrets.token_hex(4)}")

    def say(self, text: str) -> None:
        """Tell whoever waits what is going on."""
        print(f"  {text}", file=sys.stderr, flush=True)

    def lacks(self, what: str) -> None:
        """Note something that could not be measured here, and why."""
        self.missing.append(what)
        self.say(f"missing: {what}")

    def free(self) -> int:
        """Return the bytes that are free for the benchmark."""
        answer = os.statvfs(self.directory)
        return answer.f_bavail * answer.f_frsize

    def affordable(self, wanted: int) -> int:
        """Return `wanted` bytes, or as much as leaves a fifth of the free space alone."""
        bound = self.free() * 4 // 5
        if wanted <= bound:
            return wanted
        self.lacks(
            f"space for {volary.format_size(wanted)}: made smaller, "
            f"{volary.format_size(self.free())} are free"
        )
        return bound

    @contextmanager
    def connection(self) -> Iterator[volary.Connection]:
        """Open an engine on a state directory of its own."""
        with volary.open(state_dir=self.unused("state")) as connection:
            yield connection

    def pool(self, connection: volary.Connection, name: str) -> volary.Pool:
        """Start a transient pool on a fresh directory."""
        spec = volary.PoolSpec(name, type="dir", target=self.unused(name))
        return connection.create_pool(spec, volary.PoolStart.BUILD)


Scenario: TypeAlias = Callable[[Bench], Figures]


def run_all(
    scenarios: Mapping[str, Scenario], *, directory: str, quick: bool, json_file: str | None
) -> int:
    """Run the scenarios in order, and remove `directory` at the end, also after Ctrl-C.

    Returns an exit code: 1 when a scenario failed; the others are run all the same.
    """
    root = os.path.abspath(directory)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    figures: dict[str, Figures] = {}
    missing: list[str] = []
    failed = False
    try:
        _spread(root)
        line = machine(root)
        print(f"machine: {line}", flush=True)
        for name, scenario in scenarios.items():
            path = os.path.join(root, name)
            os.mkdir(path)
            _spread(path)
            print(f"{name} ...", file=sys.stderr, flush=True)
            bench = Bench(path, quick)
            began = time.monotonic()
            try:
                figures[name] = scenario(bench)
            except (OSError, RuntimeError, volary.VolaryError) as error:
                failed = True
                print(f"\n{name} FAILED: {error!r}", flush=True)
            missing += [f"{name}: {what}" for what in bench.missing]
            print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    finally:
        # A second Ctrl-C must not leave gigabytes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("removing what the benchmark wrote ...", file=sys.stderr, flush=True)
        shutil.rmtree(root, ignore_errors=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for what in missing:
        print(f"\nmissing: {what}")
    if json_file is not None:
        with open(json_file, "w", encoding="utf-8") as file:
            json.dump({"machine": line, "quick": quick, "figures": figures}, file, indent=2)
            file.write("\n")
    return 1 if failed else 0


def machine(directory: str) -> str:
    """Return one line on what the figures were measured on."""
    return ", ".join(
        (
            f"{os.cpu_count()} CPUs ({_cpu_model()})",
            f"Linux {platform.release()}",
            _file_system(directory),
            f"Python {platform.python_version()}",
            f"Pykka {version('pykka')}",
            f"Volary {volary.__version__}",
        )
    )


def _cpu_model() -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.machine()


def _file_system(directory: str) -> str:
    """Return type and mount options of the file system, from proc_pid_mountinfo(5)."""
    device = os.stat(directory).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            if before.split()[2] == wanted:
                kind, source, options = after.split()
                return f"{kind} ({options}{_journal(source)})"
    return "unknown file system"


def _journal(source: str) -> str:
    """Say so when an ext4 file system has no journal: what a sync means is another thing then."""
    name = os.path.basename(os.path.realpath(source))
    with suppress(OSError), open(f"/sys/fs/ext4/{name}/journal_task", encoding="utf-8") as file:
        if file.read().strip() == "<none>":
            return ", without a journal"
    return ""


def _spread(directory: str) -> None:
    """Have ext4 put each directory made in this one into a block group of its own.

    An ext4 without a journal does not give out an inode that was deleted some minutes ago
    (recently_deleted() in fs/ext4/ialloc.c), and looks at each one that it passes over: a creation
    in a block group where thousands of files were just deleted takes 100 to 200 us more.
    Directories below a "top
    directory" (chattr +T) are spread over the disk, so that one run does not find the last one's
    deleted files. Elsewhere the flag is refused, and not needed.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, bytes(8)))
        fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("l", flags | _FS_TOPDIR_FL))
    except OSError:
        pass
    finally:
        os.close(fd)
