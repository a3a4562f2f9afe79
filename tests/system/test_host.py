"""The engine beside a host service: its actors, signals, logging, threads, forks and exits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pykka
import pytest
from tests.system.conftest import RunHost
from tests.system.half_way import TALKATIVE, paused_half_way
from tests.system.leftovers import names

import volary
from volary import ASYNC, JobState, PoolSpec, PoolStart, VolumeSpec

# A part of several hosts: a pool, and a job that is running, one that is paused, one that waits.
# Written volumes are slowed down, so that what happens meanwhile happens half way on any disk.
BUSY = """
import os, signal, sys, threading, time
import pykka, volary
from volary import ASYNC, PoolSpec, PoolStart, Settings, VolumeSpec

state, target = sys.argv[1:3]
conn = volary.open(state_dir=state, settings=Settings(allocators_per_pool=2))
pool = conn.create_pool(PoolSpec("images", target=target), PoolStart.BUILD)

def begin(name):
    spec = VolumeSpec(name, capacity="64 MiB", preallocation="full")
    job = pool.create_volume(spec, ASYNC)
    job.limit("8 MiB")
    return job

running, paused, waiting = jobs = begin("running"), begin("paused"), begin("waiting")
paused.pause()
while [job.state.name for job in jobs] != ["RUNNING", "PAUSED", "WAITING"]:
    time.sleep(0.005)
"""


def host(program: str, *, busy: bool = True) -> str:
    return (BUSY if busy else "") + dedent(program)


def assert_quiet(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr


class Counter(pykka.ThreadingActor):
    """An actor of the host's own."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: object) -> int:
        self.count += 1
        return self.count


@pytest.fixture
def talkative(tmp_path: Path) -> Iterator[volary.Pool]:
    """A pool whose engine tells every extent."""
    with volary.open(state_dir=tmp_path / "state", settings=TALKATIVE) as conn:
        yield conn.create_pool(PoolSpec("images", target=tmp_path / "images"), PoolStart.BUILD)


# The host's actors.


def test_the_hosts_actors_outlive_the_connection(tmp_path: Path) -> None:
    actor = Counter.start()
    try:
        with volary.open(state_dir=tmp_path / "state") as conn:
            conn.create_pool(PoolSpec("images", target=tmp_path / "images"), PoolStart.BUILD)
            assert actor.ask("before") == 1
        assert actor.ask("after") == 2
        assert pykka.ActorRegistry.get_all() == [actor]
    finally:
        actor.stop()


@pytest.mark.parametrize("raised", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
@pytest.mark.parametrize("callback", ["on_progress", "done_callback"])
def test_the_hosts_actors_outlive_a_callback_that_raises(
    tmp_path: Path, run_host: RunHost, callback: str, raised: str
) -> None:
    program = host(
        """
        import sys, pykka, volary
        from concurrent.futures import wait
        from volary import ASYNC, PoolSpec, PoolStart, VolumeSpec

        state, target, callback, raised = sys.argv[1:]

        class Host(pykka.ThreadingActor):
            def on_receive(self, message):
                return message

        def fail(*_):
            raise getattr(__builtins__, raised)

        actor = Host.start()
        with volary.open(state_dir=state) as conn:
            pool = conn.create_pool(PoolSpec("images", target=target), PoolStart.BUILD)
            spec = VolumeSpec("a", capacity="16 MiB", preallocation="full")
            told = fail if callback == "on_progress" else None
            job = pool.create_volume(spec, ASYNC, on_progress=told)
            if callback == "done_callback":
                job.add_done_callback(fail)
            assert not wait([job], 5).not_done, "the job never ended"
            assert actor.ask("there?", timeout=2) == "there?"
            # Another volume: the pool is as well as before.
            pool.create_volume(VolumeSpec("b", capacity=1))
            assert pool.volume("a").info().capacity == 16 << 20
        assert actor.is_alive()
        actor.stop()
        """,
        busy=False,
    )
    done = run_host(program, tmp_path / "state", tmp_path / "images", callback, raised)
    # concurrent.futures logs what a done-callback raised; nothing else may be said.
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_done_callback_that_raises_ends_neither_its_job_nor_the_next_one(
    tmp_path: Path, pool: volary.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    heard = threading.Event()

    def fail(_: object) -> None:
        raise RuntimeError("the host's own mistake")

    job = pool.create_volume(VolumeSpec("a", capacity="1 MiB", preallocation="full"), ASYNC)
    job.add_done_callback(fail)
    job.add_done_callback(lambda _: heard.set())
    assert job.result(10).name == "a"
    assert heard.wait(10)
    assert pool.create_volume(VolumeSpec("b", capacity=1)).name == "b"


def test_an_on_progress_that_raises_is_not_called_again_and_the_job_goes_on(
    tmp_path: Path, talkative: volary.Pool
) -> None:
    calls: list[volary.Progress] = []

    def fail(progress: volary.Progress) -> None:
        calls.append(progress)
        raise RuntimeError("the host's own mistake")

    spec = VolumeSpec("a", capacity="32 MiB", preallocation="full")
    assert talkative.create_volume(spec, on_progress=fail).info().allocation >= 32 << 20
    assert len(calls) == 1


def test_stopping_every_actor_of_the_process_ends_every_job(
    tmp_path: Path, run_host: RunHost
) -> None:
    program = host("""
        from concurrent.futures import wait
        pykka.ActorRegistry.stop_all()
        assert not wait(jobs, 5).not_done, jobs
        assert os.listdir(target) == [], os.listdir(target)
        """)
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


@pytest.mark.parametrize(
    "call",
    [
        "conn.pools()",
        "conn.jobs()",
        "conn.define_pool(PoolSpec('b', target=target))",
        "pool.info()",
        "pool.volumes()",
        "pool.create_volume(VolumeSpec('b', capacity=1))",
        "pool.refresh()",
        "pool.autostart",
    ],
)
def test_what_is_asked_after_every_actor_was_stopped_says_that_the_connection_is_closed(
    tmp_path: Path, run_host: RunHost, call: str
) -> None:
    program = host(f"""
        pykka.ActorRegistry.stop_all()
        try:
            {call}
        except volary.ConnectionClosed:
            pass
        else:
            raise SystemExit("it answered")
        """)
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


def test_a_connection_whose_actors_were_stopped_can_be_closed(
    tmp_path: Path, run_host: RunHost
) -> None:
    program = host("""
        pykka.ActorRegistry.stop_all()
        conn.close()
        assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
        volary.open(state_dir=state).close()
        """)
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


# What belongs to the whole process.


def test_nothing_is_printed_and_nothing_of_the_process_is_changed(
    tmp_path: Path, run_host: RunHost
) -> None:
    program = host(
        """
        import asyncio, locale, logging, os, signal, sys, threading, warnings
        import pykka, structlog

        def process():
            root = logging.getLogger()
            return {
                "signals": [signal.getsignal(s) for s in sorted(signal.valid_signals())],
                "wakeup": signal.set_wakeup_fd(-1),
                "root logger": (list(root.handlers), root.level, root.disabled, root.filters[:]),
                "last resort": logging.lastResort,
                "logger class": logging.getLoggerClass(),
                "record factory": logging.getLogRecordFactory(),
                "disabled": logging.root.manager.disable,
                "pykka's logger": logging.getLogger("pykka").level,
                "structlog": (structlog.is_configured(), structlog.get_config()["processors"][:]),
                "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
                "umask": (os.umask(0o022), os.umask(0o022)),
                "directory": os.getcwd(),
                "environment": dict(os.environ),
                "locale": locale.setlocale(locale.LC_ALL),
                "switch interval": sys.getswitchinterval(),
                "warnings": warnings.filters[:],
                "threads": threading.enumerate(),
            }

        before = process()
        import volary
        from volary import ASYNC, PoolSpec, PoolStart, VolumeSpec
        assert process() == before, "import"
        state, target = sys.argv[1:]
        conn = volary.open(state_dir=state)
        del before["threads"]
        assert {**process(), **before} == process() , "open"
        pool = conn.create_pool(PoolSpec("images", target=target), PoolStart.BUILD)
        pool.create_volume(VolumeSpec("a", capacity="1 MiB", preallocation="full"))
        pool.create_volume(VolumeSpec("b", capacity="1 MiB", preallocation="full"), ASYNC).cancel()
        for mistake in ("conn.pool('none')", "pool.volume('none')", "pool.start()"):
            try:
                eval(mistake)
            except volary.VolaryError:
                pass
        conn.close()
        assert {**process(), **before} == process(), "close"
        """,
        busy=False,
    )
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


def test_the_hosts_structlog_configuration_gets_our_lines_and_stays(
    tmp_path: Path, run_host: RunHost
) -> None:
    program = host(
        """
        import sys, structlog
        lines = []

        def keep(logger, method, event):
            lines.append(event)
            raise structlog.DropEvent

        structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
        before = structlog.get_config()
        import volary
        from volary import PoolSpec, PoolStart, VolumeSpec
        state, target = sys.argv[1:]
        with structlog.contextvars.bound_contextvars(request="r-1"):
            with volary.open(state_dir=state) as conn:
                pool = conn.create_pool(PoolSpec("images", target=target), PoolStart.BUILD)
                pool.create_volume(VolumeSpec("a", capacity="1 MiB", preallocation="full"))
            assert structlog.contextvars.get_contextvars() == {"request": "r-1"}
        assert structlog.get_config() == before
        mine = [line for line in lines if line.get("volume") == "a"]
        assert mine, lines
        for line in mine:
            assert line["request"] == "r-1" and line["pool"] == "images", line
            assert line["operation"] == "create volume" and line["job"] > 0, line
        """,
        busy=False,
    )
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


def test_a_signal_that_interrupts_the_hosts_wait_reaches_the_host(
    tmp_path: Path, run_host: RunHost
) -> None:
    program = host("""
        class Hangup(Exception):
            pass

        def raise_hangup(*_):
            raise Hangup

        signal.signal(signal.SIGALRM, raise_hangup)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            # Blocking: the job waits behind the others, and is cancelled with its caller's wait.
            pool.create_volume(VolumeSpec("b", capacity="1 MiB", preallocation="full"))
        except Hangup:
            pass
        else:
            raise SystemExit("it returned")
        assert [job.volume for job in pool.jobs() if not job.done()] == \
            ["running", "paused", "waiting"], pool.jobs()
        conn.close()
        """)
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


# Closing.


def test_closing_cancels_running_waiting_and_paused_jobs(
    tmp_path: Path, run_host: RunHost
) -> None:
    program = host("""
        conn.close()
        assert [job.state.name for job in jobs] == ["CANCELLED"] * 3, jobs
        assert os.listdir(target) == [], os.listdir(target)
        """)
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


def test_no_thread_and_no_descriptor_is_left_after_closing(
    tmp_path: Path, run_host: RunHost
) -> None:
    program = host("""
        with open("/dev/null"):
            pass
        conn.close()
        assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
        left = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")[3:]
                if os.path.exists(f"/proc/self/fd/{fd}")]
        assert not [path for path in left if state in path or target in path], left
        assert pykka.ActorRegistry.get_all() == []
        """)
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


def test_closing_from_two_threads_at_once_returns_in_both_when_all_is_undone(
    tmp_path: Path, run_host: RunHost
) -> None:
    program = host("""
        failed = []

        def close():
            try:
                conn.close()
                assert all(job.done() for job in jobs), jobs
                assert os.listdir(target) == []
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=close, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert not failed, failed
        assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
        """)
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


def test_closing_in_a_callback_is_refused_and_the_connection_stays(
    tmp_path: Path, conn: volary.Connection, pool: volary.Pool
) -> None:
    refused: list[BaseException] = []
    heard = threading.Event()

    def close(_: object) -> None:
        try:
            conn.close()
        except volary.ConnectionClosed as error:
            refused.append(error)
        heard.set()

    # Fully written and slowed down: the callback is there before it ends.
    job = pool.create_volume(VolumeSpec("a", capacity="16 MiB", preallocation="full"), ASYNC)
    job.limit("64 MiB")
    job.add_done_callback(close)
    job.result(10)
    assert heard.wait(10)
    assert "thread of your own" in str(refused)
    assert pool.volume("a").name == "a"


def test_a_closed_connection_says_so(conn: volary.Connection, pool: volary.Pool) -> None:
    conn.close()
    for call in (conn.pools, conn.jobs, pool.info, pool.volumes, pool.refresh):
        with pytest.raises(volary.ConnectionClosed, match="open a new one"):
            call()


# Exiting without closing.


@pytest.mark.parametrize("way", ["pass", "sys.exit(0)", "del conn, pool, running, paused, jobs"])
def test_a_host_that_forgets_to_close_exits_and_leaves_nothing_half_made(
    tmp_path: Path, run_host: RunHost, way: str
) -> None:
    assert_quiet(run_host(host(way), tmp_path / "state", tmp_path / "images"))
    assert names(tmp_path / "images") == []


def test_a_host_that_dies_of_an_exception_shows_it_and_exits(
    tmp_path: Path, run_host: RunHost
) -> None:
    done = run_host(host("raise OverflowError('the host')"), tmp_path / "s", tmp_path / "images")
    assert done.returncode == 1
    assert done.stderr.endswith("OverflowError: the host\n")
    assert names(tmp_path / "images") == []


def test_a_host_that_forgets_to_close_a_quick_job_exits(tmp_path: Path, run_host: RunHost) -> None:
    program = host("""
        conn.close()
        conn = volary.open(state_dir=state)
        pool = conn.create_pool(PoolSpec("images", target=target))
        for number in range(200):
            pool.create_volume(VolumeSpec(f"v-{number}", capacity=1), ASYNC)
        """)
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))
    # Those that were done when the host ended are there, the rest is not: no hidden file.
    assert all(name.startswith("v-") for name in names(tmp_path / "images"))


def test_an_interrupted_host_exits(tmp_path: Path) -> None:
    program = host("""
        print("ready", flush=True)
        running.result()
        """)
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "state", tmp_path / "images"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            child.send_signal(signal.SIGINT)
            _, errors = child.communicate(timeout=10)
        finally:
            child.kill()
    assert errors.endswith("KeyboardInterrupt\n")
    assert names(tmp_path / "images") == []


# Forking.


FORK = """
child = os.fork()
if child == 0:
    signal.alarm(2)  # a child that hangs dies of it
    try:
        {call}
    except volary.ConnectionClosed as error:
        os._exit(0 if str(os.getppid()) in str(error) else 3)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(2)
    os._exit(1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert code == 0, {{1: "it answered", 3: "the error does not name its owner"}}.get(code, code)
"""


@pytest.mark.parametrize(
    "call",
    [
        "conn.pools()",
        "conn.pool('images')",
        "conn.jobs()",
        "pool.info()",
        "pool.volumes()",
        "pool.volume('running')",
        "pool.is_active",
        "pool.refresh()",
        "pool.create_volume(VolumeSpec('b', capacity=1))",
        "running.pause()",
        "running.cancel()",
        "running.result()",
    ],
)
def test_a_forked_child_is_told_that_the_connection_is_not_its_own(
    tmp_path: Path, run_host: RunHost, call: str
) -> None:
    program = host(FORK.format(call=call) + "conn.close()\n")
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


FORK_AND_LIVE_ON = """
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    os.close(go[1])
    os.write(ready[1], b"x")
    os.read(go[0], 1)  # until the parent has ended
    os._exit(0)
os.read(ready[0], 1)
"""


def test_the_parent_goes_on_after_a_fork(tmp_path: Path, run_host: RunHost) -> None:
    program = host(
        FORK_AND_LIVE_ON
        + dedent("""
        paused.resume()
        for job in jobs:
            job.limit(None)
            job.result(10)
        assert len(pool.volumes()) == 3
        pool.create_volume(VolumeSpec("d", capacity=1))
        conn.close()
        """)
    )
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


def test_a_state_directory_is_free_when_its_owner_closed_it_though_a_child_lives(
    tmp_path: Path, run_host: RunHost
) -> None:
    program = host(FORK_AND_LIVE_ON + "conn.close()\nvolary.open(state_dir=state).close()\n")
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


def test_a_forked_child_that_exits_takes_nothing_from_its_parent(
    tmp_path: Path, run_host: RunHost
) -> None:
    program = host("""
        child = os.fork()
        if child == 0:
            sys.exit(0)  # by way of every atexit function
        assert os.waitpid(child, 0)[1] == 0
        assert [job.state.name for job in jobs] == ["RUNNING", "PAUSED", "WAITING"], jobs
        try:
            volary.open(state_dir=state)
        except volary.StateDirectoryBusy:
            pass
        else:
            raise SystemExit("the child gave the state directory away")
        conn.close()
        """)
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))


def test_a_forked_child_opens_a_connection_of_its_own(tmp_path: Path, run_host: RunHost) -> None:
    program = host("""
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            with volary.open(state_dir=state + "-2") as own:
                other = own.create_pool(PoolSpec("b", target=target + "-2"), PoolStart.BUILD)
                other.create_volume(VolumeSpec("b", capacity="1 MiB", preallocation="full"))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == 0, code
        conn.close()
        """)
    assert_quiet(run_host(program, tmp_path / "state", tmp_path / "images"))
    assert names(tmp_path / "images-2") == ["b"]


# More than one engine.


def test_two_engines_of_one_process_know_nothing_of_each_other(tmp_path: Path) -> None:
    one, two = (volary.open(state_dir=tmp_path / name) for name in ("one", "two"))
    with one, two:
        pools = [
            conn.create_pool(
                PoolSpec("images", target=tmp_path / f"{number} images"), PoolStart.BUILD
            )
            for number, conn in enumerate((one, two))
        ]
        pools[0].create_volume(VolumeSpec("a", capacity=1))
        assert [[v.name for v in pool.volumes()] for pool in pools] == [["a"], []]
        one.close()
        assert pools[1].create_volume(VolumeSpec("b", capacity=1)).info().capacity == 1


def test_a_second_engine_in_this_process_is_told_who_has_the_state_directory(
    tmp_path: Path, conn: volary.Connection
) -> None:
    with pytest.raises(volary.StateDirectoryBusy, match=rf"process {os.getpid()} "):
        volary.open(state_dir=conn.state_dir)
    assert conn.pools() == []


def test_a_second_engine_that_was_refused_leaves_the_owners_name(
    tmp_path: Path, conn: volary.Connection, run_host: RunHost
) -> None:
    program = "import sys, volary\nvolary.open(state_dir=sys.argv[1])"
    for _ in range(2):
        done = run_host(program, conn.state_dir)
        assert done.returncode == 1
        assert f"StateDirectoryBusy: the state directory {conn.state_dir} is owned" in done.stderr
        assert f"process {os.getpid()} " in done.stderr


def test_a_state_directory_can_be_opened_again_and_again(tmp_path: Path) -> None:
    before = threading.active_count()
    for _ in range(20):
        volary.open(state_dir=tmp_path / "state").close()
    assert threading.active_count() == before


def test_a_paused_job_stands_still_and_everything_else_goes_on(talkative: volary.Pool) -> None:
    spec = VolumeSpec("a", capacity="32 MiB", preallocation="full")
    job = paused_half_way(talkative, spec)
    at = job.progress().done
    talkative.refresh()
    talkative.create_volume(VolumeSpec("b", capacity="8 MiB", preallocation="full"))
    assert [volume.name for volume in talkative.volumes()] == ["b"]
    assert (job.state, job.progress().done) == (JobState.PAUSED, at)
    job.resume()
    assert job.result(10).info().allocation >= 32 << 20
