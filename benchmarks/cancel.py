"""Cancel and kill -9 at random moments: how long it takes, and that nothing is left."""

from __future__ import annotations

import os
import random
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import volary
from benchmarks import bare, loop_device
from benchmarks.children import child, kill
from benchmarks.figures import ms, print_table, print_wanted, summarise
from benchmarks.runner import Bench, Figures
from volary.engine.formats.raw import EXTENT, FALLOCATE_EXTENT

_SEED = 20
_STATE = "state"
_POOL = "pool"
_NOISE = 64 << 20
"""Bytes that other programs may take meanwhile on the same file system; a leak is far larger."""

_PATIENCE = 3.0

_WHOLE = "it was whole"
_OTHERS = "nothing of ours; others took"


@dataclass(frozen=True, slots=True)
class _Cancel:
    """One cancelled allocation; seconds and bytes.

    cancel: what `job.cancel()` took.
    close: what close(2) of an unnamed file took, with as much reserved and written.
    extent: what one extent took on the average, until then.
    """

    written: int
    cancel: float
    close: float
    extent: float
    left: str


def run(bench: Bench) -> Figures:
    """Cancel on this file system and on a plain ext4; kill on the latter if there is one."""
    full = 1 << 30 if bench.quick else 8 << 30
    size = bench.affordable(full * 5 // 4) * 4 // 5 // EXTENT * EXTENT
    count = 2 if bench.quick else 5
    figures = _report_cancels("here", size, _cancels(bench, bench.directory, size, count))
    with loop_device.mounted(bench, "ext4", size * 5 // 4 + (256 << 20)) as directory:
        if directory is not None:
            found = _cancels(bench, directory, size, count)
            figures |= _report_cancels("plain ext4 on a loop device", size, found)
        # There nobody else takes or gives space meanwhile.
        return figures | _kills(bench, directory or bench.directory)


def _free(directory: str) -> int:
    answer = os.statvfs(directory)
    return answer.f_bfree * answer.f_frsize


def _left(target: str, before: int, size: int) -> str:
    """Return what is left in the pool's directory and of the space that was taken."""
    names = os.listdir(target)
    if names:
        return f"names: {names}"
    # What another program takes for a moment looks the same; a leak stays.
    patience = time.monotonic() + _PATIENCE
    while (lost := before - _free(target)) > min(_NOISE, size // 4):
        if time.monotonic() > patience:
            # An unnamed file takes space only for as long as it is open.
            if not _unnamed_files(target):
                return f"{_OTHERS} {volary.format_size(lost)}"
            return f"{volary.format_size(lost)} not given back"
        time.sleep(0.05)
    return "nothing"


def _unnamed_files(target: str) -> list[str]:
    """Return what this process has open in the pool's directory and has no name there."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed since it was listed
            path = os.readlink(f"/proc/self/fd/{fd}")
            if path.startswith(f"{target}/") and path.endswith(" (deleted)"):
                found.append(path)
    return found


def _clean(left: str) -> bool:
    return left in ("nothing", _WHOLE) or left.startswith(_OTHERS)


# Cancel.


def _cancels(bench: Bench, directory: str, size: int, count: int) -> list[_Cancel]:
    moments = random.Random(_SEED)
    state, target = (tempfile.mkdtemp(dir=directory) for _ in range(2))
    found = []
    with volary.open(state_dir=state) as connection:
        pool = connection.create_pool(volary.PoolSpec(_POOL, type="dir", target=target))
        # An image's blocks are taken from the disk when they are first written.
        pool.create_volume(volary.VolumeSpec("first", capacity=size, preallocation="full"))
        pool.volume("first").delete()
        for number in range(count):
            bench.say(f"cancel {number + 1} of {count}")
            found.append(_cancel(pool, size, moments.uniform(0.05, 0.75 if bench.quick else 0.95)))
    return found


def _cancel(pool: volary.Pool, size: int, part: float) -> _Cancel:
    _settle()
    before = _free(pool.target)
    spec = volary.VolumeSpec("volume", capacity=size, preallocation="full")
    began = time.perf_counter()
    job = pool.create_volume(spec, volary.ASYNC)
    while job.progress().done < part * size and not job.done():
        time.sleep(0.001)
    # Somewhere within an extent, not just after the engine has told of one.
    time.sleep(part * 0.01)
    asked = time.perf_counter()
    job.cancel()
    taken = time.perf_counter() - asked
    # Told before it was asked to stop, at most some tens of milliseconds before.
    written = job.progress().done
    if not job.cancelled():
        raise RuntimeError(f"{job!r} was not cancelled: it ended before")
    left = _left(pool.target, before, size)
    extent = (asked - began) * EXTENT / max(written, EXTENT)
    return _Cancel(written, taken, _bare_close(pool.target, size, written), extent, left)


def _settle() -> None:
    """Let the disk finish with what was freed last."""
    os.sync()
    time.sleep(0.3)


def _bare_close(directory: str, size: int, written: int) -> float:
    """Return the seconds in which the kernel frees what a cancelled job leaves to it."""
    _settle()
    zeros = bare.zeros(EXTENT, huge=True)
    dir_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    fd = bare.open_unnamed(dir_fd)
    try:
        bare.reserve(fd, size, FALLOCATE_EXTENT)
        bare.write_direct(fd, written, EXTENT, zeros)
    except BaseException:
        os.close(fd)
        raise
    finally:
        os.close(dir_fd)
        zeros.close()
    began = time.perf_counter()
    os.close(fd)
    return time.perf_counter() - began


def _report_cancels(where: str, size: int, found: list[_Cancel]) -> Figures:
    print_table(
        f"Cancel of a fully written allocation of {volary.format_size(size)}, {where}: ms",
        ("written", "job.cancel()", "bare close(2)", "difference", "one extent", "left"),
        [
            (
                volary.format_size(one.written),
                ms(one.cancel),
                ms(one.close),
                ms(one.cancel - one.close),
                ms(one.extent),
                one.left,
            )
            for one in found
        ],
    )
    over = summarise(one.cancel - one.close for one in found).median
    extent = summarise(one.extent for one in found).median
    # The job is at work on one extent when it hears of it, and the kernel's times scatter.
    slack = 0.1 * summarise(one.close for one in found).median
    print_wanted(
        "cancel in one extent's time beside the kernel's to free the space",
        f"{ms(over)} ms more (one extent: {ms(extent)} ms)",
        met=over <= extent + max(slack, 0.001),
    )
    print_wanted(
        "no name, no hidden file, the space back",
        ", ".join(sorted({one.left for one in found})),
        met=all(_clean(one.left) for one in found),
    )
    key = where.partition(" ")[0]
    return {
        f"{key}.cancel_s": summarise(one.cancel for one in found).median,
        f"{key}.bare_close_s": summarise(one.close for one in found).median,
        f"{key}.cancel_over_close_s": over,
        f"{key}.extent_s": extent,
    }


# Kill.


def _kills(bench: Bench, directory: str) -> Figures:
    count = 3 if bench.quick else 20
    size = bench.affordable(256 << 20 if bench.quick else 2 << 30) // EXTENT * EXTENT
    moments = random.Random(_SEED)
    root = tempfile.mkdtemp(dir=directory)
    target = os.path.join(root, _POOL)
    with volary.open(state_dir=os.path.join(root, _STATE)) as connection:
        pool = connection.define_pool(volary.PoolSpec(_POOL, type="dir", target=target))
        pool.build()
        pool.start()
        pool.autostart = True
        began = time.perf_counter()
        pool.create_volume(volary.VolumeSpec("volume", capacity=size, preallocation="full"))
        whole = time.perf_counter() - began
        pool.volume("volume").delete()
    where = "here" if directory == bench.directory else "plain ext4 on a loop device"
    rows, left, restarts = [], [], []
    for number in range(count):
        moment = moments.uniform(0, 0.9 * whole)
        bench.say(f"kill {number + 1} of {count}, after {moment:.2f} s of about {whole:.2f} s")
        written, freeing, restart, found = _kill(root, target, size, moment)
        left.append(found)
        restarts.append(restart)
        rows.append(
            (f"{moment:.3f}", volary.format_size(written), ms(freeing), ms(restart), found)
        )
    print_table(
        f"kill -9 during a fully written allocation of {volary.format_size(size)}, then a new "
        f"engine on the same state directory, {where}",
        ("after s", "written", "process gone ms", "new engine ms", "left"),
        rows,
    )
    print_wanted(
        "no name, no hidden file, the space back",
        ", ".join(sorted(set(left))),
        met=all(_clean(one) for one in left),
    )
    return {
        "restart_after_kill_s": summarise(restarts).median,
        "kills_left": sum(not _clean(one) for one in left),
    }


def _kill(root: str, target: str, size: int, moment: float) -> tuple[int, float, float, str]:
    """Return the bytes last told of, the seconds until the process was gone and those until a new
    engine was open, and what is left.
    """
    before = _free(target)
    with child(_allocate, root, size) as (pid, receiver):
        written: int = receiver.recv()  # it has begun
        time.sleep(moment)
        while receiver.poll():
            written = receiver.recv()
        began = time.perf_counter()
        kill(pid)
    freeing = time.perf_counter() - began
    began = time.perf_counter()
    with volary.open(state_dir=os.path.join(root, _STATE)) as connection:
        restart = time.perf_counter() - began
        pool = connection.pool(_POOL)
        names = [volume.name for volume in pool.volumes()]
        if names:
            # It was whole before it was killed: then it must stay.
            whole = pool.volume("volume").info()
            good = names == ["volume"] and whole.allocation >= size
            pool.volume("volume").delete()
            return written, freeing, restart, _WHOLE if good else f"half a volume: {whole}"
    return written, freeing, restart, _left(target, before, size)


def _allocate(sender: Connection, root: str, size: int) -> None:
    """In the child: allocate until killed."""
    with volary.open(state_dir=os.path.join(root, _STATE)) as connection:
        spec = volary.VolumeSpec("volume", capacity=size, preallocation="full")
        connection.pool(_POOL).create_volume(spec, on_progress=lambda at: sender.send(at.done))
        time.sleep(60)
