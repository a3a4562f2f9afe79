"""Volumes being allocated, and everything else going on meanwhile.

    make demo

An embedded engine in a temporary directory: first one volume that the caller waits for, then a
dozen at once, one of which is cancelled half way, while another thread looks volumes up; at last
a clone, and an overlay of it. Takes some ten seconds and less than 9 GiB, and leaves nothing
behind, on Ctrl-C neither.

VOLARY_DEMO_DIR says where the temporary directory is to be; it is the current one otherwise.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

import volary

MIB = 1 << 20
RATE = 96 * MIB
"""Bytes a second that each of the dozen may write: without a limit it would be over too soon to
be watched."""

CONSOLE = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 120)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of the demo's volumes."""

    first: int = 2048 * MIB
    written: int = 512 * MIB
    reserved: int = 512 * MIB

    @property
    def total(self) -> int:
        """Bytes of all volumes together, with the clone of one of them."""
        return self.first + (WRITTEN + 1) * self.written + RESERVED * self.reserved


WRITTEN, RESERVED = 9, 3
"""Of the dozen, how many are written in full and how many are only reserved."""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one volume."""

    name: str
    how: str
    capacity: int
    seconds: float
    outcome: str


@dataclass(slots=True)
class LookUps:
    """Looks a volume up again and again on a thread of its own, as a context."""

    pool: volary.Pool
    name: str
    seconds: list[float] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look, name="look-ups", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        assert self._thread is not None
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.001):
            began = time.perf_counter()
            self.pool.volume(self.name)
            self.seconds.append(time.perf_counter() - began)

    def __str__(self) -> str:
        if not self.seconds:
            return "look-ups: none yet"
        ordered = sorted(self.seconds)
        p50, p99 = (ordered[len(ordered) * part // 100] * 1e6 for part in (50, 99))
        return f"look-ups meanwhile: {len(ordered)}, p50 {p50:.0f} µs, p99 {p99:.0f} µs"


def main() -> int:
    """Show it all, and return the exit status."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        with temporary_directory() as directory:
            sizes = fitting(directory)
            if sizes is None:
                return 1
            settings = volary.Settings(allocators_per_pool=WRITTEN + RESERVED)
            state = os.path.join(directory, "state")
            with volary.open(state_dir=state, settings=settings) as connection:
                spec = volary.PoolSpec("demo", target=os.path.join(directory, "images"))
                show(connection.create_pool(spec, volary.PoolStart.BUILD), sizes)
            began = time.monotonic()
        CONSOLE.print(f"cleaned up: {time.monotonic() - began:.1f} s, nothing is left")
    except KeyboardInterrupt:
        CONSOLE.print("interrupted: every job was cancelled, nothing is left")
        return 130
    except (volary.VolaryError, OSError) as error:
        CONSOLE.print(f"demo: {error}")
        return 1
    return 0


def show(pool: volary.Pool, sizes: Sizes) -> None:
    """Allocate, and prove what is left."""
    free_before = free_space(pool.target)
    CONSOLE.print(f"pool {pool.name!r} in {pool.target}", style="bold")
    CONSOLE.print("\n1. One volume, fully written; the caller waits for it.", style="bold")
    rows = [blocking(pool, sizes.first)]
    count = WRITTEN + RESERVED
    CONSOLE.print(
        f"\n2. {count} at once: {WRITTEN} written, each at most {size(RATE)}/s, and {RESERVED} "
        "reserved. One is cancelled half way.",
        style="bold",
    )
    with LookUps(pool, rows[0].name) as look_ups:
        more, cancelled = at_once(pool, sizes, look_ups)
    rows += more
    CONSOLE.print(f"\n3. What is there.   {look_ups}", style="bold")
    CONSOLE.print(result_table(pool, rows))
    prove(pool, cancelled, free_before)
    CONSOLE.print("\n5. A clone, and an overlay of it.", style="bold")
    clone(pool, pool.volume("full-01.raw"))


def blocking(pool: volary.Pool, capacity: int) -> Row:
    """Create one volume, waiting for it."""
    spec = volary.VolumeSpec("first.raw", capacity=capacity, preallocation="full")
    began = time.monotonic()
    with bar(spec.name, capacity) as tell:
        pool.create_volume(spec, on_progress=tell)
    seconds = time.monotonic() - began
    say(f"{spec.name} created", terminal=False)
    return Row(spec.name, "full, waited for", capacity, seconds, "created")


def at_once(
    pool: volary.Pool, sizes: Sizes, look_ups: LookUps
) -> tuple[list[Row], volary.Job[volary.Volume]]:
    """Create a dozen volumes at once; returns what became of them, and the job cancelled."""
    specs = [
        volary.VolumeSpec(f"full-{i + 1:02}.raw", capacity=sizes.written, preallocation="full")
        for i in range(WRITTEN)
    ] + [
        volary.VolumeSpec(f"falloc-{i + 1}.raw", capacity=sizes.reserved, preallocation="falloc")
        for i in range(RESERVED)
    ]
    jobs = {spec: pool.create_volume(spec, volary.ASYNC) for spec in specs}
    for job in jobs.values():
        job.limit(RATE)
    victim = jobs[specs[WRITTEN // 2]]
    progress = bars()
    tasks = {
        job: progress.add_task(spec.name, total=spec.capacity, figures="")
        for spec, job in jobs.items()
    }
    with live(lambda: Group(progress, Text(str(look_ups)))):
        watch(tasks, progress, victim)
    return [row(spec, job) for spec, job in jobs.items()], victim


def watch(
    tasks: dict[volary.Job[volary.Volume], TaskID],
    progress: Progress,
    victim: volary.Job[volary.Volume],
) -> None:
    """Follow the jobs until the last one has ended; cancel one of them half way."""
    running = list(tasks)
    while running:
        wait(running, timeout=0.02)
        ended = [job for job in running if job.done()]
        running = [job for job in running if job not in ended]
        for job, task in tasks.items():
            at = job.progress()
            words = figures(at) if job in running else job.state.value
            progress.update(task, completed=at.done, figures=words)
        for job in ended:
            say(f"{job.volume} {job.state.value}", terminal=False)
        if victim in running and victim.progress().fraction >= 0.5:
            began = time.monotonic()
            victim.cancel()
            say(f"cancelled {victim.volume}: undone in {(time.monotonic() - began) * 1000:.0f} ms")


def row(spec: volary.VolumeSpec, job: volary.Job[volary.Volume]) -> Row:
    """Return what became of a job."""
    assert job.ended is not None
    assert spec.capacity is not None
    outcome = {volary.JobState.SUCCEEDED: "created"}.get(job.state, job.state.value)
    if job.state is volary.JobState.FAILED:
        outcome = f"failed: {job.exception()}"
    return Row(spec.name, spec.preallocation, spec.capacity, job.ended - job.created, outcome)


def result_table(pool: volary.Pool, rows: list[Row]) -> Table:
    """Return what became of each volume."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("name", "how", "capacity", "on disk", "seconds", "MB/s", "outcome"):
        number = head in ("capacity", "on disk", "seconds", "MB/s")
        table.add_column(head, justify="right" if number else "left")
    there = {volume.name: volume for volume in pool.volume_infos()}
    for entry in rows:
        volume = there.get(entry.name)
        rate = entry.capacity / entry.seconds / 1e6 if entry.how.startswith("full") else None
        table.add_row(
            entry.name,
            entry.how,
            size(entry.capacity),
            "-" if volume is None else size(volume.allocation),
            f"{entry.seconds:.3f}",
            "-" if volume is None or rate is None else f"{rate:.0f}",
            entry.outcome,
        )
    return table


def prove(pool: volary.Pool, cancelled: volary.Job[volary.Volume], free_before: int) -> None:
    """Show that the cancelled volume left nothing."""
    name = cancelled.volume
    CONSOLE.print(f"\n4. What the cancelled {name} left.", style="bold")
    listed = name in {volume.name for volume in pool.volumes()}
    CONSOLE.print(f"in the pool's list: {'it is there' if listed else 'no'}")
    entries = sorted(os.listdir(pool.target))  # hidden ones, too
    known = {volume.name for volume in pool.volumes()}
    strange = [entry for entry in entries if entry not in known]
    CONSOLE.print(
        f"in the directory: {len(entries)} entries, {len(known)} of them volumes; "
        f"others, hidden ones included: {', '.join(strange) or 'none'}"
    )
    taken = free_before - free_space(pool.target)
    allocated = sum(volume.allocation for volume in pool.volume_infos())
    CONSOLE.print(
        f"on the disk: {size(allocated)} in volumes, {size(abs(taken))} "
        f"{'less' if taken >= 0 else 'more'} free than before: "
        f"{size(abs(taken - allocated))} apart (metadata, and what others write)"
    )


def clone(pool: volary.Pool, source: volary.Volume) -> None:
    """Clone a volume, and put an overlay on the clone."""
    spec = volary.VolumeSpec("clone.raw")
    began = time.monotonic()
    with bar(spec.name, source.info().capacity) as tell:
        pool.clone_volume(source, spec, on_progress=tell)
    say(f"{source.name} cloned to {spec.name} in {time.monotonic() - began:.3f} s")
    began = time.monotonic()
    overlay = pool.create_volume(
        volary.VolumeSpec("overlay.qcow2", format="qcow2", backing=spec.name)
    )
    say(f"{overlay.name} created in {(time.monotonic() - began) * 1000:.1f} ms; its chain:")
    for depth, link in enumerate(overlay.chain()):
        assert link.info is not None
        stem = "    " * (depth - 1) + "└── " if depth else ""
        say(f"{stem}{link.volume}: {link.format}, {size(link.info.allocation)} on disk")


@contextmanager
def temporary_directory() -> Iterator[str]:
    """Make a directory, and remove it with all that is in it."""
    where = os.environ.get("VOLARY_DEMO_DIR") or os.getcwd()
    directory = tempfile.mkdtemp(prefix="volary-demo-", dir=where)
    try:
        yield directory
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends soon: nothing is to stay
        shutil.rmtree(directory)


def fitting(directory: str) -> Sizes | None:
    """Return sizes that leave half of the free space free, or None where there is none."""
    sizes = Sizes()
    free = free_space(directory)
    if free < 256 * MIB:
        CONSOLE.print(
            f"{directory} has {size(free)} free: set VOLARY_DEMO_DIR to a place with more"
        )
        return None
    if sizes.total * 2 <= free:
        return sizes
    part = free / 2 / sizes.total
    CONSOLE.print(f"only {size(free)} are free: the volumes are {part:.0%} of their usual size")
    return Sizes(
        *(int(whole * part) // MIB * MIB for whole in (sizes.first, sizes.written, sizes.reserved))
    )


def free_space(path: str) -> int:
    """Return the bytes that are free in the file system below `path`."""
    answer = os.statvfs(path)
    return answer.f_bavail * answer.f_frsize


def bars() -> Progress:
    """Return a progress display with one line a volume."""
    return Progress(
        TextColumn("{task.description:<14}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        console=CONSOLE,
        auto_refresh=False,
    )


@contextmanager
def bar(name: str, total: int) -> Iterator[Callable[[volary.Progress], None]]:
    """Show one line, and yield what tells it how far the volume is."""
    progress = bars()
    task = progress.add_task(name, total=total, figures="")

    def tell(at: volary.Progress) -> None:
        progress.update(task, completed=at.done, figures=figures(at))

    with live(lambda: progress):
        yield tell


@contextmanager
def live(show: Callable[[], RenderableType]) -> Iterator[None]:
    """Keep what `show` returns on the terminal; do nothing where there is none."""
    if not CONSOLE.is_terminal:
        yield
        return
    with Live(get_renderable=show, console=CONSOLE, refresh_per_second=15):
        yield


def say(sentence: str, *, terminal: bool = True) -> None:
    """Write a line; `terminal` says whether a terminal, which has the bars, gets it too."""
    if terminal or not CONSOLE.is_terminal:
        CONSOLE.print(sentence)


def figures(at: volary.Progress) -> str:
    """Return how far a job is."""
    left = "" if at.eta is None else f", {at.eta:.0f} s left"
    return f"{size(at.done)}, {size(int(at.rate))}/s{left}"


def size(count: int) -> str:
    """Return bytes for people."""
    return volary.format_size(count)


def _leave(*_: object) -> NoReturn:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
