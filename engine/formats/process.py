"""A program that does a part of the work, as an operation."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Container, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from time import monotonic
from typing import IO, NamedTuple

from volary.engine.errors import ToolFailed, ToolMissing
from volary.engine.progress import Done, Operation

SLICE = 0.05
"""Seconds that the program runs between two yields: what a cancel waits for at the most."""

_OUTPUT = 1 << 16
"""Bytes of what the program printed that are kept, the last ones, if nobody wants more."""

_GRACE = 5
"""Seconds from the signal that tells a program of its CPU limit to the one that ends it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program and the package that has it.

    first_words: whether what is wrong is in its first line, with advice or its usage behind it,
        rather than in its last.
    """

    name: str
    package: str
    first_words: bool = False

    def find(self) -> str:
        """Return where it is; raise `ToolMissing` when it is not installed."""
        # An ordinary user's PATH has not what only root is expected to run.
        path = shutil.which(self.name, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM}")
        if path is None:
            raise ToolMissing(
                f"{self.name} is not installed, or not in PATH; install the package {self.package}"
            )
        return path


_SYSTEM = "/usr/sbin:/sbin"


class Limits(NamedTuple):
    """What a program may take before the kernel stops it.

    cpu: seconds of processor time.
    memory: bytes of address space (RLIMIT_AS, getrlimit(2)).
    """

    cpu: int
    memory: int


_PRLIMIT = Tool("prlimit", "util-linux")

_AT_OUR_WORD = ("/bin/sh", "-c", 'read -r _ && exec "$@" <"$0"', os.devnull)
"""Begins when a line comes, and ends when none can come any more: what is started otherwise would
live on if this process were killed before it could see to that. The last word is the path of what
the program reads."""


def run(
    tool: Tool,
    arguments: Sequence[str],
    *,
    limits: Limits | None,
    fds: Sequence[int] = (),
    stdin: int | None = None,
    keep: int = _OUTPUT,
    at: Callable[[bytes], Done] = lambda _: Done(),
    accept: Container[int] = (0,),
) -> Operation[bytes]:
    """Run `tool`, and return the last `keep` bytes of what it printed, 64 KiB if not given.

    It runs only while this waits for it, and is stopped (SIGSTOP) until this is asked to go on: a
    job that is paused, or that has to slow down, so pauses and slows down the program with it.
    Closing this early kills the program. So does the end of this process, however it ends.

    limits: None for a program that leaves another one behind, which would inherit them.
    fds: descriptors that it finds under the same numbers, as /proc/self/fd/N; they stay open.
    stdin: the descriptor of a file that it reads from its start; None for one that is empty.
    at: says from what was printed how far it is, at each yield.
    accept: exit statuses of success.

    Raises `ToolMissing`, and `ToolFailed` with the program's last words, or with the limit that it
    met.
    """
    begin = _AT_OUR_WORD
    if stdin is not None:
        begin = (*begin[:-1], f"/proc/self/fd/{stdin}")
        fds = (*fds, stdin)
    command = [*begin, *_limited(limits), tool.find(), *arguments]
    with ExitStack() as undo:
        child = _Child(command, fds, keep, undo)
        while not child.proceed():
            yield at(child.output)
        if child.status not in accept:
            reason = _reason(child, tool, limits).removeprefix(f"{tool.name}: ")
            raise ToolFailed(f"{tool.name} {arguments[0]}: {reason}")
        return child.output


class _Child:
    """A running program, which ends with `undo` at the latest."""

    def __init__(
        self, command: Sequence[str], fds: Sequence[int], keep: int, undo: ExitStack
    ) -> None:
        self._keep = keep
        self.status: int | None = None
        self.output = self.last_words = b""
        self._stopped = False
        lifeline, our_end = os.pipe()
        undo.callback(os.close, our_end)
        try:
            # A session of its own keeps a terminal's Ctrl-C away from it.
            child = self._child = subprocess.Popen(  # noqa: S603 - a list; the shell's text is ours
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(*fds, lifeline),
                start_new_session=True,
                cwd="/",
                env=_ENVIRONMENT,
            )
            for pipe in (child.stdin, child.stdout, child.stderr):
                undo.callback(_given(pipe).close)
            self._pidfd = _open_pid(child)
            undo.callback(os.close, self._pidfd)
            undo.callback(self._kill)
            _die_with_us(lifeline, child.pid)
            with suppress(BrokenPipeError):  # it has ended already
                os.write(_given(child.stdin).fileno(), b"\n")
        finally:
            os.close(lifeline)
        self._poll = select.poll()
        self._poll.register(self._pidfd, select.POLLIN)
        self._stdout, self._stderr = _given(child.stdout).fileno(), _given(child.stderr).fileno()
        for fd in (self._stdout, self._stderr):
            os.set_blocking(fd, False)
            self._poll.register(fd, select.POLLIN)

    def proceed(self) -> bool:
        """Let it run for a slice of time, and return whether it has ended."""
        if self._stopped:
            self._signal(signal.SIGCONT)
        end = monotonic() + SLICE
        while (left := end - monotonic()) > 0:
            ready = [fd for fd, _ in self._poll.poll(left * 1000)]
            self._read()
            if self._pidfd in ready:
                self._reap()
                self._read()
                return True
        self._signal(signal.SIGSTOP)
        self._stopped = True
        return False

    def _read(self) -> None:
        self.output = self._drain(self._stdout, self.output)[-self._keep :]
        self.last_words = self._drain(self._stderr, self.last_words)[-_OUTPUT:]

    def _drain(self, fd: int, before: bytes) -> bytes:
        try:
            data = os.read(fd, _OUTPUT)
        except BlockingIOError:
            return before
        if not data:
            with suppress(KeyError):  # at its end it would be ready for ever
                self._poll.unregister(fd)
        return before + data

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # somebody else in this process reaped it: see _reap
            signal.pidfd_send_signal(self._pidfd, number)

    def _kill(self) -> None:
        if self.status is None:
            self._signal(signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        """Wait for its end; its status is negative when a signal ended it."""
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        except ChildProcessError:
            # A host that waits for any child, or ignores SIGCHLD (wait(2)), has taken the status.
            self.status = _STATUS_LOST
        else:
            assert result is not None  # noqa: S101 - only with WNOHANG could it be
            exited = result.si_code == os.CLD_EXITED
            self.status = result.si_status if exited else -result.si_status
        self._child.returncode = self.status


_STATUS_LOST = 256
_LOST = "its exit status was taken by other code in this process, which waits for any child"

# LC_ALL: its words are read. MALLOC_ARENA_MAX: by default glibc reserves 64 MiB of address space
# for each thread's arena (mallopt(3)), which the limit would count.
_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath, "MALLOC_ARENA_MAX": "1"}


def _limited(limits: Limits | None) -> list[str]:
    """Return the command before the command, which sets the limits.

    A program does that, since Python code between fork(2) and execve(2) is unsafe where there are
    threads, and prlimit(2) from outside comes late. No core: it would hold secrets.
    """
    if limits is None:
        return [_PRLIMIT.find(), "--core=0", "--"]
    cpu, most = _bounded(resource.RLIMIT_CPU, limits.cpu, limits.cpu + _GRACE)
    memory, _ = _bounded(resource.RLIMIT_AS, limits.memory, limits.memory)
    return [_PRLIMIT.find(), f"--cpu={cpu}:{most}", f"--as={memory}", "--core=0", "--"]


def _bounded(what: int, *values: int) -> list[int]:
    """Return the values, none above the hard limit that this process has itself."""
    hard = resource.getrlimit(what)[1]
    return [value if hard == resource.RLIM_INFINITY else min(value, hard) for value in values]


def _given(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - it was asked for
    return pipe


def _open_pid(child: subprocess.Popen[bytes]) -> int:
    try:
        return os.pidfd_open(child.pid)
    except OSError as error:
        child.kill()
        child.wait()
        if isinstance(error, ProcessLookupError):  # it has ended already, and is gone
            raise ToolFailed(f"process {child.pid}: {_LOST}") from None
        raise  # too many open files


def _die_with_us(lifeline: int, pid: int) -> None:
    """Have the kernel kill `pid` when the last writer of the pipe `lifeline` is gone.

    That is this process, which holds the other end, while the child holds this one open: its
    owner then gets a signal (fcntl(2), F_SETOWN and F_SETSIG). PR_SET_PDEATHSIG would do it at the
    end of the thread that started the child, which may be gone earlier.
    """
    with suppress(ProcessLookupError):  # it has ended already
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, pid)
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)


def _reason(child: _Child, tool: Tool, limits: Limits | None) -> str:
    """Return why it failed: what it said, and which limit may be behind it."""
    lines = child.last_words.decode(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()] or ["it said nothing"]
    words = said[0 if tool.first_words else -1]
    allowed = "is its input sound?"
    if limits is not None:
        allowed = f"it may take {limits.memory >> 20} MiB of address space; {allowed}"
    status = child.status or 0
    if status == _STATUS_LOST:
        return _LOST
    if status == -signal.SIGXCPU and limits is not None:
        return f"it was stopped after {limits.cpu} seconds of CPU time; is its input sound?"
    if status in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
        return f"it crashed ({words}); {allowed}"
    if status < 0:
        return f"it was ended by signal {-status}, {signal.strsignal(-status)}"
    return f"{words}; {allowed}" if "allocate memory" in words else words
