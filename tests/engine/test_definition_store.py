from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.pool_specs import pool_specs

from volary.engine.definition_store import DefinitionStore
from volary.engine.errors import AccessDenied, InvalidSpec, StateDirectoryBusy, StorageFailed
from volary.engine.names import name_problem
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Operation
from volary.engine.xml_document import LARGEST


def run(operation: Operation[None]) -> None:
    for _ in operation:
        pass


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DefinitionStore]:
    store = DefinitionStore(str(tmp_path / "state"))
    yield store
    store.close()


@pytest.fixture
def spec() -> PoolSpec:
    return PoolSpec("images", target="/srv/images", uuid=uuid4(), mode=0o755)


def test_a_definition_comes_back(store: DefinitionStore, spec: PoolSpec) -> None:
    run(store.save(spec))
    assert [(found.spec, found.autostart) for found in store.load()] == [(spec, False)]


def test_the_layout_is_libvirts(store: DefinitionStore, spec: PoolSpec) -> None:
    run(store.save(spec))
    run(store.set_autostart(spec, on=True))
    directory = Path(store.directory)
    assert (directory / "images.xml").is_file()
    assert (directory / "autostart" / "images.xml").samefile(directory / "images.xml")


def test_autostart_comes_back_and_can_be_set_twice(store: DefinitionStore, spec: PoolSpec) -> None:
    run(store.save(spec))
    for on in (True, True, False, False, True):
        run(store.set_autostart(spec, on=on))
        assert store.load()[0].autostart is on


@pytest.mark.parametrize("absolute", [True, False])
def test_an_autostart_link_of_somebody_elses_counts(
    store: DefinitionStore, spec: PoolSpec, absolute: bool
) -> None:
    run(store.save(spec))
    directory = Path(store.directory)
    (directory / "autostart").mkdir()
    target = directory / "images.xml" if absolute else Path("../images.xml")
    (directory / "autostart" / "images.xml").symlink_to(target)
    assert store.load()[0].autostart


def test_an_autostart_link_that_leads_elsewhere_is_none_and_is_replaced(
    store: DefinitionStore, spec: PoolSpec
) -> None:
    run(store.save(spec))
    directory = Path(store.directory)
    (directory / "autostart").mkdir()
    link = directory / "autostart" / "images.xml"
    link.symlink_to("/etc/libvirt/storage/of-another-machine.xml")
    assert not store.load()[0].autostart
    run(store.set_autostart(spec, on=True))
    assert link.samefile(directory / "images.xml")
    assert store.load()[0].autostart


@given(pool_specs())
def test_a_definition_of_any_type_comes_back(spec: PoolSpec) -> None:
    spec = spec.with_uuid()
    with TemporaryDirectory() as directory:
        store = DefinitionStore(directory)
        try:
            run(store.save(spec))
            assert [found.spec for found in store.load()] == [spec]
        finally:
            store.close()


def test_removing_leaves_nothing_of_it(store: DefinitionStore, spec: PoolSpec) -> None:
    run(store.save(spec))
    run(store.set_autostart(spec, on=True))
    run(store.remove(spec))
    assert store.load() == []
    assert os.listdir(Path(store.directory) / "autostart") == []


def test_removing_what_was_removed_by_hand_is_no_error(
    store: DefinitionStore, spec: PoolSpec
) -> None:
    run(store.remove(spec))


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"<pool", b"\xff\xfe", b"<pool type='dir'><name>other</name>", b"x" * 2_000_000],
)
def test_a_definition_that_cannot_be_read_is_passed_over_and_left(
    store: DefinitionStore, spec: PoolSpec, rubbish: bytes
) -> None:
    run(store.save(spec))
    broken = Path(store.directory) / "broken.xml"
    broken.write_bytes(rubbish)
    assert [found.spec.name for found in store.load()] == ["images"]
    assert broken.read_bytes() == rubbish


def test_a_definition_under_another_pools_name_is_passed_over(
    store: DefinitionStore, spec: PoolSpec
) -> None:
    run(store.save(spec))
    directory = Path(store.directory)
    (directory / "images.xml").rename(directory / "other.xml")
    assert store.load() == []


def test_what_a_crash_left_half_written_is_no_definition(
    store: DefinitionStore, spec: PoolSpec
) -> None:
    (Path(store.directory) / ".0123456789abcdef.new").write_text("<pool")
    assert store.load() == []
    assert not any(name.endswith(".new") for name in os.listdir(store.directory))
    run(store.save(spec))
    assert [found.spec for found in store.load()] == [spec]


def test_a_second_owner_hears_who_is_the_first(store: DefinitionStore) -> None:
    with pytest.raises(StateDirectoryBusy, match=f"owned by process {os.getpid()} "):
        DefinitionStore(store.directory)


def test_a_program_of_any_name_can_own_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [os.fsdecode(b"caf\xe9")])
    DefinitionStore(str(tmp_path / "state")).close()


def test_a_closed_store_can_be_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        DefinitionStore(str(tmp_path / "state")).close()


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StorageFailed, match="opening the state directory"):
        DefinitionStore(str(tmp_path / "state"))


def test_a_definition_that_would_not_be_read_again_is_refused(store: DefinitionStore) -> None:
    # Each of these is written as six characters.
    spec = PoolSpec("a", target="/a", label="'" * (LARGEST // 6))
    with pytest.raises(InvalidSpec, match=f"pool 'a': its definition has .* at most {LARGEST}"):
        run(store.save(spec))
    assert store.load() == []
    assert [entry for entry in os.listdir(store.directory) if entry.endswith(".new")] == []


def test_a_failing_save_leaves_the_old_definition(
    store: DefinitionStore, spec: PoolSpec, tmp_path: Path
) -> None:
    run(store.save(spec))
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    os.seteuid(65534)
    try:
        with pytest.raises(AccessDenied, match="saving the definition of pool 'images'"):
            run(store.save(PoolSpec("images", target="/elsewhere", uuid=spec.uuid)))
    finally:
        os.seteuid(0)
    assert store.load()[0].spec == spec


@given(
    name=st.text(
        st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=60
    ).filter(lambda name: name_problem(name, longest=251) is None)
)
def test_a_pool_comes_back_whatever_its_name_is(name: str) -> None:
    spec = PoolSpec(name, target=f"/srv/{name}", uuid=uuid4())
    with TemporaryDirectory() as directory:
        store = DefinitionStore(directory)
        try:
            run(store.save(spec))
            run(store.set_autostart(spec, on=True))
            assert [(found.spec, found.autostart) for found in store.load()] == [(spec, True)]
        finally:
            store.close()


@pytest.mark.parametrize("name", [".hid", ".0123456789abcdef.new", ".volary.lock", "autostart"])
def test_a_pool_whose_name_looks_like_one_of_our_files_comes_back(
    store: DefinitionStore, name: str
) -> None:
    spec = PoolSpec(name, target="/srv/images", uuid=uuid4())
    run(store.save(spec))
    assert [found.spec for found in store.load()] == [spec]


def test_loading_removes_no_file_but_an_unfinished_definition(store: DefinitionStore) -> None:
    directory = Path(store.directory)
    (directory / ".x.new").mkdir()
    (directory / ".0123456789abcdef.new").mkdir()
    (directory / ".jobs.jsonl.new").write_text("precious")
    (directory / ".fedcba9876543210.new").write_text("<pool")
    assert store.load() == []
    assert sorted(os.listdir(directory)) == [
        *(".0123456789abcdef.new", ".jobs.jsonl.new", ".volary.lock", ".x.new"),
    ]


def test_a_state_directory_that_went_away_is_an_error_of_ours(
    store: DefinitionStore, tmp_path: Path
) -> None:
    (tmp_path / "state").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageFailed, match="reading the state directory"):
        store.load()


@pytest.mark.parametrize("on", [True, False])
def test_autostart_with_a_file_in_its_place_is_an_error(
    store: DefinitionStore, spec: PoolSpec, on: bool
) -> None:
    (Path(store.directory) / "autostart").write_text("in the way")
    with pytest.raises(StorageFailed, match="setting autostart of pool 'images'"):
        run(store.set_autostart(spec, on=on))


def test_taking_back_an_autostart_that_no_pool_ever_had_is_no_error(
    store: DefinitionStore, spec: PoolSpec
) -> None:
    run(store.set_autostart(spec, on=False))
    assert "autostart" not in os.listdir(store.directory)


def test_a_lock_file_that_is_a_link_is_refused_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("precious")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / ".volary.lock").symlink_to(tmp_path / "other")
    with pytest.raises(StorageFailed, match="is no regular file; remove it"):
        DefinitionStore(str(tmp_path / "state"))
    assert (tmp_path / "other").read_text() == "precious"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_lock_file_that_is_no_file_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / ".volary.lock")
    with pytest.raises(StorageFailed, match="is no regular file; remove it"):
        DefinitionStore(str(tmp_path))


def test_a_pool_that_is_defined_without_a_uuid_keeps_the_one_that_it_gets(
    store: DefinitionStore,
) -> None:
    run(store.save(PoolSpec("images", target="/srv/images")))
    (first,), (second,) = store.load(), store.load()
    assert first.spec.uuid is not None
    assert first == second


def test_a_uuid_that_cannot_be_kept_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with TemporaryDirectory() as directory:  # rather than tmp_path, which only root may enter
        store = DefinitionStore(directory)
        run(store.save(PoolSpec("images", target="/srv/images")))
        os.chmod(directory, 0o555)
        os.chmod(os.path.join(directory, "images.xml"), 0o444)
        if os.getuid() == 0:
            os.seteuid(65534)
        try:
            (found,) = store.load()
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
            os.chmod(directory, 0o755)
            store.close()
    assert found.spec.uuid is not None
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert "pool='images'" in line.getMessage()
