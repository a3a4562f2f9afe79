"""`volary pool`."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.api.cli.command import Run

from volary.engine.pool_document import read_pool_document


def test_a_defined_pool_is_inactive_and_says_what_keeps_it(run: Run, home: Path) -> None:
    assert run("pool", "define", "images", "--target", str(home / "x")).out == (
        "Pool 'images' defined.\n"
    )
    listed = run("pool", "list")
    assert listed.status == 0
    assert listed.out.splitlines()[1].split() == [
        *("images", "dir", "inactive", "no", "-", "-", "-", f"{home}/x"),
    ]
    assert listed.err == (
        f"volary: pool 'images': target {home}/x is missing; build the pool first\n"
    )


def test_a_pool_whose_target_is_there_shows_its_space(run: Run, home: Path) -> None:
    run("pool", "define", "images", "--target", str(home / "x"), "--build")
    run("vol", "create", "a.raw", "1M", "--pool", "images")
    info = run("--json", "pool", "info", "images").document
    space = os.statvfs(home)
    assert info["state"] == "running"
    assert info["volumes"] == 1
    assert info["capacity"] == space.f_blocks * space.f_frsize
    assert info["allocation"] + info["available"] == info["capacity"]
    assert info["problem"] is None


def test_a_relative_target_is_below_the_current_directory(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert run("--json", "pool", "define", "p", "--target", "x").document["target"] == f"{home}/x"


def test_a_pool_is_found_by_its_uuid(run: Run, home: Path) -> None:
    uuid = str(uuid4())
    run("pool", "define", "images", "--target", str(home / "x"), "--uuid", uuid)
    assert run("--json", "pool", "info", uuid).document["name"] == "images"


def test_define_can_build_start_and_set_autostart_at_once(run: Run, home: Path) -> None:
    pool = run(
        *("--json", "pool", "define", "images", "--target", str(home / "x"), "--mode=0750"),
        *("--build", "--start", "--autostart"),
    ).document
    assert (pool["state"], pool["autostart"], pool["persistent"]) == ("running", True, True)
    assert oct((home / "x").stat().st_mode) == "0o40750"


def test_a_pool_that_cannot_be_built_or_started_as_asked_is_not_defined(
    run: Run, home: Path
) -> None:
    (home / "file").write_text("")
    for wish in ("--build", "--start"):
        assert run("pool", "define", "p", "--target", str(home / "file"), wish).status == 1
    assert run("--json", "pool", "list").document == []


def test_start_says_that_nothing_stays_active_without_a_daemon(run: Run, home: Path) -> None:
    run("pool", "define", "images", "--target", str(home / "x"))
    started = run("pool", "start", "images", "--build")
    assert started.status == 0
    assert started.out.startswith("Pool 'images' starts: 0 volumes, ")
    assert "active only while a command uses it" in started.out


def test_start_of_a_pool_that_cannot_be_fails(run: Run, home: Path) -> None:
    run("pool", "define", "images", "--target", str(home / "x"))
    started = run("pool", "start", "images")
    assert (started.status, started.out) == (1, "")
    assert started.err == (
        f"volary: pool 'images': target {home}/x is missing; build the pool first\n"
    )


def test_stop_says_that_there_is_nothing_to_stop(run: Run, home: Path) -> None:
    run("pool", "define", "images", "--target", str(home / "x"), "--build", "--autostart")
    stopped = run("pool", "stop", "images")
    assert stopped.status == 0
    assert "there is nothing to stop" in stopped.out
    assert run("--json", "pool", "info", "images").document["state"] == "running"


def test_autostart_does_not_stand_in_the_way_of_build_delete_and_undefine(
    run: Run, home: Path
) -> None:
    run("pool", "define", "images", "--target", str(home / "x"), "--build", "--autostart")
    assert run("pool", "build", "images").status == 0
    assert run("pool", "delete", "images").status == 0
    assert not (home / "x").exists()
    assert run("pool", "undefine", "images").status == 0
    assert run("--json", "pool", "list").document == []


def test_autostart_is_set_and_taken_back(run: Run, home: Path) -> None:
    run("pool", "define", "images", "--target", str(home / "x"))
    assert run("--json", "pool", "autostart", "images").document["autostart"]
    assert not run("--json", "pool", "autostart", "images", "--disable").document["autostart"]


def test_a_pool_with_volumes_is_not_deleted(run: Run, images: Path) -> None:
    run("vol", "create", "a.raw", "1M")
    deleted = run("pool", "delete", "default")
    assert deleted.status == 1
    assert "is not empty" in deleted.err
    assert (images / "a.raw").exists()


def test_undefine_leaves_the_volumes(run: Run, images: Path) -> None:
    run("vol", "create", "a.raw", "1M")
    assert run("pool", "undefine", "default").status == 0
    assert os.listdir(images) == ["a.raw"]


def test_refresh_finds_what_came_by_itself(run: Run, images: Path) -> None:
    run("vol", "list")
    (images / "b.raw").write_bytes(b"x")
    assert run("pool", "refresh", "default").out.startswith("Pool 'default' refreshed: 1 volume, ")


def test_dumpxml_prints_a_document_that_defines_the_pool(run: Run, images: Path) -> None:
    run("vol", "list")
    spec = read_pool_document(run("pool", "dumpxml", "default").out)
    assert (spec.name, spec.target) == ("default", str(images))
    assert isinstance(spec.uuid, UUID)
    assert run("--json", "pool", "dumpxml", "default").document["xml"].startswith("<pool")


@pytest.mark.parametrize("command", ["info", "build", "start", "stop", "refresh", "delete"])
def test_a_pool_that_is_not_there_is_not_found(run: Run, command: str) -> None:
    tried = run("pool", command, "none")
    assert (tried.status, tried.out) == (3, "")
    assert tried.err == "volary: no pool has the name 'none'\n"


def test_undefine_says_what_becomes_of_the_directory(run: Run, home: Path) -> None:
    for name, build in (("a", ["--build"]), ("b", [])):
        run("pool", "define", name, "--target", str(home / name), *build)
    assert run("pool", "undefine", "a").out == (f"Pool 'a' undefined; {home}/a stays as it is.\n")
    assert run("pool", "undefine", "b").out == f"Pool 'b' undefined; {home}/b is not there.\n"
