"""What a call that fails, waits or is interrupted holds: nothing."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.system.half_way import TALKATIVE, paused_half_way

import volary
from volary import ASYNC, PoolSpec, PoolStart, VolumeSpec
from volary.engine.actors import chain

MIB = 1 << 20


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def volume(pool: volary.Pool) -> volary.Volume:
    return pool.create_volume(VolumeSpec("a", capacity=MIB))


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[volary.Pool]:
    """A pool in which one allocation and one transfer runs at a time."""
    settings = replace(TALKATIVE, allocators_per_pool=1, transfers_per_pool=1)
    with volary.open(state_dir=tmp_path / "narrow-state", settings=settings) as conn:
        yield conn.create_pool(PoolSpec("narrow", target=tmp_path / "narrow"), PoolStart.BUILD)


def test_a_clone_that_is_interrupted_before_it_begins_leaves_its_source_free(
    pool: volary.Pool, volume: volary.Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = chain.lease

    def interrupted(*arguments: object, **more: object) -> None:
        whole(*arguments, **more)  # type: ignore[arg-type]  # passed on as they came
        raise KeyboardInterrupt

    monkeypatch.setattr("volary.api.pool.lease", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.clone_volume(volume, VolumeSpec("b"))
    volume.delete()


def test_a_download_over_a_closed_connection_leaves_no_file(
    conn: volary.Connection, volume: volary.Volume, tmp_path: Path
) -> None:
    conn.close()
    before = descriptors()
    (tmp_path / "downloads").mkdir()
    with pytest.raises(volary.ConnectionClosed):
        volume.download(tmp_path / "downloads" / "a")
    assert os.listdir(tmp_path / "downloads") == []
    assert descriptors() == before


def test_an_upload_over_a_closed_connection_begins_no_thread(
    conn: volary.Connection, volume: volary.Volume
) -> None:
    conn.close()
    before = threading.active_count()
    with pytest.raises(volary.ConnectionClosed):
        volume.upload(iter([b"x" * (20 * MIB)]))
    assert threading.active_count() == before


def test_clones_that_wait_hold_no_descriptors(narrow: volary.Pool) -> None:
    volume = narrow.create_volume(VolumeSpec("a", capacity=MIB))
    running = paused_half_way(narrow, VolumeSpec("long", capacity=32 * MIB, preallocation="full"))
    before = descriptors()
    jobs = [narrow.clone_volume(volume, VolumeSpec(f"b-{n}"), ASYNC) for n in range(20)]
    narrow.info()
    assert descriptors() == before
    running.cancel()
    for job in jobs:
        job.result(20)
    assert descriptors() <= before


def test_a_stream_can_be_uploaded_where_one_transfer_runs_at_a_time(narrow: volary.Pool) -> None:
    source = narrow.create_volume(VolumeSpec("a", capacity=40 * MIB, preallocation="falloc"))
    target = narrow.create_volume(VolumeSpec("b", capacity=40 * MIB))
    with source.stream() as stream:
        target.upload(stream, ASYNC).result(30)


def test_one_file_that_cannot_be_opened_keeps_no_pool_from_being_refreshed(
    pool: volary.Pool, target: Path
) -> None:
    (target / "fine").write_bytes(b"x" * 512)
    ignored = signal.signal(signal.SIGIO, signal.SIG_IGN)  # how its holder hears of an opener
    try:
        with (target / "leased").open("wb+") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            pool.refresh()
            found = {info.name: info for info in pool.volume_infos()}
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    finally:
        signal.signal(signal.SIGIO, ignored)
    assert set(found) == {"fine", "leased"}
    image = found["leased"].image
    assert image is not None
    assert "cannot be read" in str(image.problem)
    assert pool.volume("leased").info().image is None


def test_a_secret_that_no_passphrase_can_be_leaves_the_source_free(
    pool: volary.Pool, volume: volary.Volume
) -> None:
    with pytest.raises(volary.InvalidSpec) as raised:
        pool.clone_volume(volume, VolumeSpec("b"), source_secret="top\udc80secret")
    assert "secret'" not in repr(raised.value)
    volume.delete()
