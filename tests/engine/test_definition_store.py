from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from volary.engine.definition_store import DefinitionStore
from volary.engine.errors import AccessDenied, StateDirectoryBusy, StorageFailed
from volary.engine.pool_spec import PoolSpec
from volary.engine.progress import Operation


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


def test_a_closed_store_can_be_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        DefinitionStore(str(tmp_path / "state")).close()


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StorageFailed, match="opening the state directory"):
        DefinitionStore(str(tmp_path / "state"))


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
