"""`volary vol`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.api.cli.command import Run


def test_the_default_pool_is_made_at_its_first_use_and_said_once(run: Run, images: Path) -> None:
    first, second = run("vol", "list"), run("vol", "list")
    assert first.err == f"volary: made pool 'default' in {images}\n"
    assert second.err == ""
    assert images.is_dir()


def test_a_default_pool_that_cannot_be_built_is_not_left_defined(run: Run, home: Path) -> None:
    (home / "data").write_text("in the way")
    assert run("vol", "list").status == 1
    assert run("pool", "list", "--json").document == []


def test_a_created_volume_is_on_disk_and_listed(run: Run, images: Path) -> None:
    created = run("vol", "create", "a.raw", "8M")
    assert created.status == 0
    assert created.out.startswith(
        "Volume 'a.raw' created in pool 'default': raw, 8.00 MiB, 0 B on disk"
    )
    assert (images / "a.raw").stat().st_size == 8 << 20
    assert run("vol", "list").out.split() == [
        *("NAME", "FORMAT", "CAPACITY", "ALLOCATION", "PATH"),
        *("a.raw", "raw", "8.00", "MiB", "0", "B", f"{images}/a.raw"),
    ]


@pytest.mark.parametrize(
    ("options", "allocated"),
    [
        ((), 0),
        (("--prealloc=off",), 0),
        (("--prealloc=falloc",), 4 << 20),
        (("--prealloc=full",), 4 << 20),
        (("--allocation=1M",), 1 << 20),
        (("--allocation", "1 MiB", "--prealloc=full"), 1 << 20),
    ],
)
def test_as_much_is_allocated_as_was_asked_for(
    run: Run, options: tuple[str, ...], allocated: int
) -> None:
    volume = run("--json", "vol", "create", "a.raw", "4 MiB", *options).document
    assert volume["capacity"] == 4 << 20
    # A file system may add a block of its own for the map of extents.
    assert allocated <= volume["allocation"] <= allocated + (64 << 10)


def test_mode_owner_and_group_are_the_files(run: Run, images: Path) -> None:
    me, mine = str(os.getuid()), str(os.getgid())
    run("vol", "create", "a.raw", "1M", "--mode=0640", "--owner", me, "--group", mine)
    answer = (images / "a.raw").stat()
    assert oct(answer.st_mode) == "0o100640"
    assert (answer.st_uid, answer.st_gid) == (os.getuid(), os.getgid())


def test_an_owner_that_nobody_is_called_is_wrong_usage(run: Run) -> None:
    tried = run("vol", "create", "a.raw", "1M", "--owner", "nobody is called so")
    assert tried.status == 2
    assert tried.err == "volary: owner: no user is called 'nobody is called so'\n"


def test_a_limited_creation_takes_its_time(run: Run) -> None:
    run("vol", "create", "a.raw", "16M", "--prealloc=full", "--limit=32M/s")
    (job,) = run("job", "list", "--json").document["jobs"]
    # The extent of 8 MiB that is written before the limit is heard of is not counted.
    assert job["seconds"] >= 0.2


def test_info_has_all_that_is_known(run: Run, images: Path) -> None:
    key = run("--json", "vol", "create", "a.raw", "8M").document["key"]
    assert run("vol", "info", "a.raw").out.splitlines() == [
        "Name:        a.raw",
        "Pool:        default",
        f"Key:         {key}",
        f"Path:        {images}/a.raw",
        "Type:        file",
        "Format:      raw",
        "Capacity:    8.00 MiB",
        "Allocation:  0 B",
        "Physical:    8.00 MiB",
    ]


def test_a_volume_is_found_by_its_path_and_its_key_too(run: Run, images: Path) -> None:
    run("pool", "define", "other", "--target", str(images.parent / "other"), "--build")
    run("vol", "create", "a.raw", "1M", "--pool", "other")
    path = run("vol", "path", "a.raw", "--pool=other").out.strip()
    key = run("vol", "key", "a.raw", "--pool=other").out.strip()
    assert path == f"{images.parent}/other/a.raw"
    assert run("vol", "key", path).out.strip() == key
    assert run("vol", "path", key).out.strip() == path


def test_a_name_with_markup_in_it_is_shown_as_it_is(run: Run) -> None:
    name = "[red]a :smile: ä.raw"
    run("vol", "create", name, "1M")
    assert run("vol", "list").out.splitlines()[1].startswith(f"{name}  raw")


def test_deleted_volumes_are_gone(run: Run, images: Path) -> None:
    for name in ("a.raw", "b.raw", "c.raw"):
        run("vol", "create", name, "1M")
    deleted = run("vol", "delete", "a.raw", "c.raw")
    assert deleted.out.splitlines() == [
        "Volume 'a.raw' deleted from pool 'default'.",
        "Volume 'c.raw' deleted from pool 'default'.",
    ]
    assert os.listdir(images) == ["b.raw"]


def test_a_volume_that_is_missing_keeps_no_other_from_being_deleted(
    run: Run, images: Path
) -> None:
    for name in ("a.raw", "b.raw"):
        run("vol", "create", name, "1M")
    deleted = run("--json", "vol", "delete", "a.raw", "none", "b.raw")
    assert deleted.status == 3
    assert deleted.document == {"deleted": ["a.raw", "b.raw"]}
    assert deleted.error["error"] == "VolumeNotFound"
    assert os.listdir(images) == []


@pytest.mark.parametrize("limit", ["0", "0/s", "0 MiB"])
def test_a_limit_of_nothing_is_refused_before_anything_is_made(
    run: Run, home: Path, limit: str
) -> None:
    tried = run("vol", "create", "a.raw", "1M", "--limit", limit)
    assert (tried.status, tried.out) == (2, "")
    assert tried.err == (
        "volary: --limit: 0 is no rate; give one above it, or none for no limit\n"
    )
    assert os.listdir(home) == []
