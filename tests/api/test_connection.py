from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import volary
from volary.api.connection import default_state_dir
from volary.engine.actors.threads import EngineThread

DOCUMENT = """<pool type='dir'><name>images</name><target><path>{}</path></target></pool>"""


def engine_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if isinstance(thread, EngineThread)]


def spec(tmp_path: Path, name: str = "images") -> volary.PoolSpec:
    return volary.PoolSpec(name, target=tmp_path / name)


def test_a_defined_pool_comes_back_after_a_restart(tmp_path: Path) -> None:
    with volary.open(state_dir=tmp_path / "state") as conn:
        pool = conn.define_pool(spec(tmp_path))
        uuid = pool.uuid
        assert (pool.is_active, pool.is_persistent, pool.autostart) == (False, True, False)
    with volary.open(state_dir=tmp_path / "state") as conn:
        (pool,) = conn.pools()
        assert (pool.name, pool.uuid, pool.is_active) == ("images", uuid, False)


def test_a_pool_with_autostart_is_started_with_the_engine(tmp_path: Path) -> None:
    with volary.open(state_dir=tmp_path / "state") as conn:
        pool = conn.define_pool(spec(tmp_path))
        pool.build()
        pool.start()
        pool.autostart = True
        pool.create_volume(volary.VolumeSpec("a", capacity=4096))
    with volary.open(state_dir=tmp_path / "state") as conn:
        pool = conn.pool("images")
        assert pool.is_active
        assert pool.autostart
        assert [volume.name for volume in pool.volumes()] == ["a"]
        pool.autostart = False
    with volary.open(state_dir=tmp_path / "state") as conn:
        assert not conn.pool("images").is_active


def test_an_autostart_that_fails_keeps_nobody_out(tmp_path: Path) -> None:
    with volary.open(state_dir=tmp_path / "state") as conn:
        conn.define_pool(spec(tmp_path)).autostart = True
    with volary.open(state_dir=tmp_path / "state") as conn:
        assert not conn.pool("images").is_active


def test_a_transient_pool_is_no_more_when_stopped(tmp_path: Path) -> None:
    with volary.open(state_dir=tmp_path / "state") as conn:
        pool = conn.create_pool(spec(tmp_path), volary.PoolStart.BUILD)
        assert (pool.is_active, pool.is_persistent) == (True, False)
        pool.stop()
        assert conn.pools() == []
        with pytest.raises(volary.PoolNotFound, match="is no more"):
            pool.info()
        assert (tmp_path / "images").is_dir()


def test_a_transient_pool_that_cannot_start_is_not_there(
    conn: volary.Connection, tmp_path: Path
) -> None:
    with pytest.raises(volary.TargetUnusable, match="is missing"):
        conn.create_pool(spec(tmp_path))
    assert conn.pools() == []
    conn.create_pool(spec(tmp_path), volary.PoolStart.BUILD)


def test_a_pool_may_be_created_asynchronously(conn: volary.Connection, tmp_path: Path) -> None:
    job = conn.create_pool(spec(tmp_path), volary.PoolStart.BUILD | volary.ASYNC)
    assert job.result().name == "images"


def test_a_pool_is_found_by_name_uuid_and_target(
    conn: volary.Connection, pool: volary.Pool, target: Path
) -> None:
    found = [
        conn.pool("images"),
        conn.pool(pool.uuid),
        conn.pool(str(pool.uuid)),
        conn.pool_by_target(target),
        conn.pool_by_target(f"{target}/"),
        conn.pool_by_target(f"/{target}"),
    ]
    assert found == [pool] * 6


@pytest.mark.parametrize("name", ["nothing", str(UUID(int=5)), ""])
def test_a_pool_that_is_not_there_is_not_found(conn: volary.Connection, name: str) -> None:
    with pytest.raises(volary.PoolNotFound):
        conn.pool(name)


def test_a_volume_is_found_by_path_and_key(conn: volary.Connection, pool: volary.Pool) -> None:
    volume = pool.create_volume(volary.VolumeSpec("a", capacity=1))
    assert conn.volume(path=volume.path) == volume
    assert conn.volume(path=f"/{volume.path}") == volume
    assert conn.volume(key=volume.key) == volume


@pytest.mark.parametrize(
    "where", [{"path": "/nowhere/a"}, {"key": "x"}, {"key": f"{uuid4()}/a"}, {"key": ""}]
)
def test_a_volume_that_is_not_there_is_not_found(
    conn: volary.Connection, pool: volary.Pool, where: dict[str, str]
) -> None:
    with pytest.raises(volary.VolumeNotFound, match="no volume has"):
        conn.volume(**where)


def test_a_key_is_the_same_after_a_restart_and_another_one_in_another_pool(
    tmp_path: Path,
) -> None:
    keys = []
    for _ in range(2):
        with volary.open(state_dir=tmp_path / "state") as conn:
            if not conn.pools():
                for name in ("one", "two"):
                    pool = conn.define_pool(spec(tmp_path, name))
                    pool.start(volary.PoolStart.BUILD)
                    pool.autostart = True
                    pool.create_volume(volary.VolumeSpec("a", capacity=1))
            keys.append([pool.volume("a").key for pool in conn.pools()])
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == 2


def test_names_uuids_and_targets_are_unique(
    conn: volary.Connection, pool: volary.Pool, target: Path, tmp_path: Path
) -> None:
    for other, what in (
        (volary.PoolSpec("images", target=tmp_path / "x"), "name 'images'"),
        (volary.PoolSpec("x", target=tmp_path / "x", uuid=pool.uuid), "UUID"),
        (volary.PoolSpec("x", target=target), "target"),
    ):
        with pytest.raises(volary.PoolExists, match=what):
            conn.define_pool(other)
        with pytest.raises(volary.PoolExists, match=what):
            conn.create_pool(other)
    assert conn.pools() == [pool]


def test_an_undefined_pool_is_forgotten_and_its_volumes_stay(tmp_path: Path) -> None:
    with volary.open(state_dir=tmp_path / "state") as conn:
        pool = conn.define_pool(spec(tmp_path))
        pool.start(volary.PoolStart.BUILD)
        pool.create_volume(volary.VolumeSpec("a", capacity=1))
        with pytest.raises(volary.PoolActive, match="stop it to undefine it"):
            pool.undefine()
        pool.stop()
        pool.undefine()
        assert conn.pools() == []
        conn.define_pool(spec(tmp_path))
    assert (tmp_path / "images" / "a").exists()


def test_libvirts_document_is_taken_for_a_spec(conn: volary.Connection, tmp_path: Path) -> None:
    pool = conn.define_pool(DOCUMENT.format(tmp_path / "images"))
    assert (pool.name, pool.target) == ("images", str(tmp_path / "images"))
    assert f"<uuid>{pool.uuid}</uuid>" in pool.xml()


def test_a_second_engine_on_a_state_directory_is_refused(
    conn: volary.Connection, tmp_path: Path
) -> None:
    with pytest.raises(volary.StateDirectoryBusy, match="is owned by process"):
        volary.open(state_dir=tmp_path / "state")


def test_closing_leaves_no_thread_and_calls_say_that_it_is_closed(tmp_path: Path) -> None:
    conn = volary.open(state_dir=tmp_path / "state")
    pool = conn.create_pool(spec(tmp_path), volary.PoolStart.BUILD)
    conn.close()
    conn.close()
    assert engine_threads() == []
    for call in (conn.pools, conn.jobs, pool.refresh):
        with pytest.raises(volary.ConnectionClosed, match="open a new one"):
            call()
    with pytest.raises(volary.VolaryError):
        pool.volumes()


def test_closing_many_pools_leaves_no_thread(tmp_path: Path) -> None:
    for attempt in range(5):
        with volary.open(state_dir=tmp_path / "state") as conn:
            for number in range(40):
                name = f"p{attempt}-{number}"
                conn.create_pool(spec(tmp_path, name), volary.PoolStart.BUILD)
        assert engine_threads() == []


def test_closing_ends_every_job(tmp_path: Path) -> None:
    settings = volary.Settings(allocators_per_pool=1)
    with volary.open(state_dir=tmp_path / "state", settings=settings) as conn:
        pool = conn.create_pool(spec(tmp_path), volary.PoolStart.BUILD)
        jobs = [
            pool.create_volume(
                volary.VolumeSpec(f"v{i}", capacity="64 MiB", preallocation="full"), volary.ASYNC
            )
            for i in range(4)
        ]
        for job in jobs:
            job.pause()
    assert [job.state for job in jobs] == [volary.JobState.CANCELLED] * 4
    assert list((tmp_path / "images").iterdir()) == []


@pytest.mark.parametrize("uri", ["", "qemu:///system", "volary:///elsewhere", "volary://host/"])
def test_a_uri_that_means_nothing_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(volary.InvalidSpec, match="unknown URI"):
        volary.open(uri, state_dir=tmp_path)


def test_the_session_keeps_its_state_where_the_user_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere/state")
    assert default_state_dir("volary:///session") == "/somewhere/state/volary"
    assert default_state_dir("volary:///system") == "/var/lib/volary"


def test_a_target_that_is_another_pools_by_a_link_is_refused(
    conn: volary.Connection, pool: volary.Pool, target: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(volary.PoolExists, match=f"which is {target}: pool 'images'"):
        conn.create_pool(volary.PoolSpec("other", target=tmp_path / "link"))


def test_space_promised_in_one_pool_is_not_promised_in_another(
    conn: volary.Connection, pool: volary.Pool, tmp_path: Path
) -> None:
    other = conn.create_pool(
        volary.PoolSpec("other", target=tmp_path / "other"), volary.PoolStart.BUILD
    )
    blockers = [
        pool.create_volume(
            volary.VolumeSpec(f"b{i}", capacity="256 MiB", preallocation="full"), volary.ASYNC
        )
        for i in range(8)
    ]
    for job in blockers:
        job.pause()
    size = pool.info().available * 6 // 10
    spec = volary.VolumeSpec("a", capacity=size, allocation=size)
    waiting = pool.create_volume(spec, volary.ASYNC)
    pool.info()  # each pool has a mailbox of its own: have this one read its mail first
    with pytest.raises(volary.NoSpace, match="are promised to jobs"):
        other.create_volume(spec)
    assert other.info().available < size
    for job in (waiting, *blockers):
        job.cancel()
    assert other.info().available > size


def test_autostart_is_set_while_volumes_are_created(tmp_path: Path) -> None:
    with volary.open(state_dir=tmp_path / "state") as conn:
        pool = conn.define_pool(spec(tmp_path))
        pool.start(volary.PoolStart.BUILD)
        jobs = []
        for number in range(50):
            pool.autostart = bool(number % 2)
            jobs.append(
                pool.create_volume(volary.VolumeSpec(f"v{number}", capacity=1), volary.ASYNC)
            )
        assert [job.exception() for job in jobs] == [None] * 50


def test_calls_during_a_close_say_that_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = volary.open(state_dir=tmp_path / "state")
    pools = [conn.create_pool(spec(tmp_path, name), volary.PoolStart.BUILD) for name in ("p", "q")]
    met: set[type] = set()

    def look(_: object) -> None:
        for pool in pools:
            try:
                pool.volumes()
            except volary.VolaryError as error:
                met.add(type(error))

    job = pools[0].create_volume(
        volary.VolumeSpec("a", capacity="64 MiB", preallocation="full"), volary.ASYNC
    )
    job.pause()
    job.add_done_callback(look)
    conn.close()
    assert met == {volary.ConnectionClosed}


def test_a_close_that_is_interrupted_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn = volary.open(state_dir=tmp_path / "state")
    conn.create_pool(spec(tmp_path), volary.PoolStart.BUILD)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("volary.engine.actors.engine.wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            conn.close()
    conn.close()
    volary.open(state_dir=tmp_path / "state").close()


def test_a_relative_path_is_no_pools_target(conn: volary.Connection, pool: volary.Pool) -> None:
    with pytest.raises(volary.PoolNotFound):
        conn.pool_by_target(pool.target.lstrip("/"))


def test_a_pool_whose_name_begins_with_a_dot_comes_back_after_a_restart(tmp_path: Path) -> None:
    with volary.open(state_dir=tmp_path / "state") as conn:
        conn.define_pool(spec(tmp_path, ".hid"))
    with volary.open(state_dir=tmp_path / "state") as conn:
        assert [pool.name for pool in conn.pools()] == [".hid"]


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda conn: conn.pool(5), "give its name as a str, or its UUID"),
        (lambda conn: conn.pool_by_target(None), "target None is no path; give an absolute one"),
        (lambda conn: conn.define_pool(None), "give a volary.PoolSpec"),
        (lambda conn: conn.create_pool(None), "give a volary.PoolSpec"),
        (lambda conn: conn.create_pool(b"<pool/>"), "libvirt's document as a str"),
        (lambda conn: conn.create_pool("<pool/>", "x"), "flags 'x' are none; give those of"),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused_saying_what_to_give(
    conn: volary.Connection, call: Callable[[volary.Connection], object], instead: str
) -> None:
    with pytest.raises(volary.InvalidSpec, match=instead):
        call(conn)
