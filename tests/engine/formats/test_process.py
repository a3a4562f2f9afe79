from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import psutil
import pytest

from volary.engine.errors import ToolFailed, ToolMissing
from volary.engine.formats import process
from volary.engine.formats.process import Limits, Tool, run
from volary.engine.progress import Done, Operation

SH = Tool("sh", "dash")
SLEEP = Tool("sleep", "coreutils")
AMPLE = Limits(cpu=30, memory=1 << 30)


def shell(script: str, limits: Limits = AMPLE) -> Operation[bytes]:
    return run(SH, ["-c", script], limits=limits)


def finish(work: Operation[bytes]) -> bytes:
    while True:
        try:
            next(work)
        except StopIteration as stop:
            result: bytes = stop.value
            return result


@pytest.fixture
def sleeper() -> Iterator[tuple[Operation[bytes], psutil.Process]]:
    before = psutil.Process().children()
    work = run(SLEEP, ["600"], limits=AMPLE)
    next(work)
    (child,) = set(psutil.Process().children()) - set(before)
    yield work, child
    work.close()


def test_what_a_program_prints_is_returned() -> None:
    assert finish(shell("echo hello; echo beside >&2")) == b"hello\n"


def test_the_end_of_a_long_output_is_kept() -> None:
    output = finish(shell("yes | head -c 3000000; echo end"))
    assert len(output) == 65536
    assert output.endswith(b"y\nend\n")


def test_a_program_without_limits_has_those_of_this_process() -> None:
    work = run(SH, ["-c", "prlimit --cpu --as --output SOFT --noheadings --raw"], limits=None)
    soft = [resource.getrlimit(what)[0] for what in (resource.RLIMIT_CPU, resource.RLIMIT_AS)]
    told = ["unlimited" if it == resource.RLIM_INFINITY else str(it) for it in soft]
    assert sorted(finish(work).decode().split()) == sorted(told)


def test_a_failure_is_told_in_the_last_words_of_the_program() -> None:
    with pytest.raises(ToolFailed, match=r"^sh -c: the disk is round$"):
        finish(shell("echo first >&2; echo the disk is round >&2; exit 1"))


def test_a_program_that_is_killed_is_told_as_such() -> None:
    with pytest.raises(ToolFailed, match="ended by signal 15, Terminated"):
        finish(shell("kill $$"))


def test_an_accepted_exit_status_is_no_failure() -> None:
    work = run(SH, ["-c", "echo two; exit 2"], limits=AMPLE, accept=(0, 2))
    assert finish(work) == b"two\n"


def test_a_missing_program_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolMissing, match="install the package"):
        next(shell("true"))


def test_progress_is_asked_for_at_each_yield() -> None:
    work = run(SH, ["-c", "echo 7; sleep 600"], limits=AMPLE, at=lambda out: Done(len(out), 9))
    while (at := next(work)) == Done(0, 9):
        pass
    work.close()
    assert at == Done(2, 9)


def test_closing_kills_the_program_at_once_and_leaves_no_zombie(
    sleeper: tuple[Operation[bytes], psutil.Process],
) -> None:
    work, child = sleeper
    began = monotonic()
    work.close()
    assert monotonic() - began < 0.5  # some 2 ms on a machine with nothing else to do
    assert not child.is_running()
    assert child not in psutil.Process().children()


def test_a_program_stands_still_until_the_operation_goes_on(
    sleeper: tuple[Operation[bytes], psutil.Process],
) -> None:
    work, child = sleeper
    stands_still(child)
    next(work)
    stands_still(child)


def test_an_operation_leaves_no_descriptors(
    sleeper: tuple[Operation[bytes], psutil.Process],
) -> None:
    work, _ = sleeper
    work.close()
    before = os.listdir("/proc/self/fd")
    finish(shell("true"))
    with pytest.raises(ToolFailed):
        finish(shell("false"))
    closed = run(SLEEP, ["600"], limits=AMPLE)
    next(closed)
    closed.close()
    assert os.listdir("/proc/self/fd") == before


def test_a_program_inherits_what_it_is_given_and_nothing_else(tmp_path: Path) -> None:
    with (tmp_path / "given").open("w") as given, (tmp_path / "other").open("w") as other:
        os.set_inheritable(other.fileno(), True)
        work = run(SH, ["-c", "readlink /proc/$$/fd/*; true"], limits=AMPLE, fds=[given.fileno()])
        links = finish(work).decode().split("\n")
    assert str(tmp_path / "given") in links
    assert str(tmp_path / "other") not in links
    assert links[0] == "/dev/null"


def test_a_program_has_a_small_environment_and_a_session_of_its_own() -> None:
    environment = finish(shell("env")).decode()
    assert {line.split("=")[0] for line in environment.splitlines()} <= {
        *("LC_ALL", "PATH", "MALLOC_ARENA_MAX"),
        *("PWD", "OLDPWD", "SHLVL", "_"),  # the shell's own
    }
    session = int(finish(shell("cut -d' ' -f6 /proc/$$/stat")))
    assert session != os.getsid(0)


def test_a_program_is_stopped_when_its_cpu_time_is_over() -> None:
    with pytest.raises(ToolFailed, match="stopped after 1 seconds of CPU time"):
        finish(shell("while :; do :; done", Limits(cpu=1, memory=1 << 30)))


def test_a_program_gets_no_more_memory_than_it_may() -> None:
    greedy = run(
        Tool(sys.executable, "python3"),
        ["-c", "bytearray(1 << 30)"],
        limits=Limits(cpu=30, memory=512 << 20),
    )
    with pytest.raises(ToolFailed, match="MemoryError"):
        finish(greedy)


def test_a_program_dumps_no_core() -> None:
    assert finish(shell("ulimit -c")) == b"0\n"


def test_limits_stay_below_those_that_this_process_has() -> None:
    script = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "from tests.engine.formats.test_process import finish, shell\n"
        "print(finish(shell('ulimit -t; ulimit -v')).decode())\n"
    )
    answer = python(script)
    assert answer.stdout.split() == [b"20", b"1048576"]


@pytest.mark.parametrize("steps", [1, 3])
def test_a_program_dies_with_the_process_that_started_it(steps: int) -> None:
    script = (
        "import os, psutil\n"
        "from tests.engine.formats.test_process import *\n"
        "work = run(SLEEP, ['600'], limits=AMPLE)\n"
        f"for _ in range({steps}): next(work)\n"
        "print(psutil.Process().children()[0].pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    answer = python(script)
    assert answer.returncode == -signal.SIGKILL
    gone_or_dead(int(answer.stdout))


def stands_still(child: psutil.Process) -> None:
    """Wait for the signal that was sent to arrive."""
    while child.status() != psutil.STATUS_STOPPED:
        os.sched_yield()


def python(script: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script that can import this module."""
    root = Path(__file__).parents[3]
    return subprocess.run(
        [sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, check=False
    )


def gone_or_dead(pid: int) -> None:
    """Wait until a process that is no child of ours is gone, or a zombie that nobody reaps."""
    try:
        child = psutil.Process(pid)
        while child.status() != psutil.STATUS_ZOMBIE:
            os.sched_yield()
    except psutil.NoSuchProcess:
        pass


def test_a_status_that_other_code_took_is_no_success() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # wait(2): nothing is left to wait for
    try:
        with pytest.raises(ToolFailed, match="taken by other code"):
            finish(shell("true"))
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_slice_is_short_enough_for_a_cancel_within_a_tenth_of_a_second() -> None:
    assert process.SLICE <= 0.05


def test_a_program_never_begins_when_its_starter_ends_before_the_word(tmp_path: Path) -> None:
    command = [*process._AT_OUR_WORD, "touch", str(tmp_path / "begun")]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode != 0
    assert list(tmp_path.iterdir()) == []
    assert subprocess.run(command, input=b"\n", check=False).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]
