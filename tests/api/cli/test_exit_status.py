"""How the command ends, and what it says then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.api.cli.command import Run, Start


@pytest.mark.parametrize(
    ("arguments", "status", "error", "code"),
    [
        (("vol", "create", "a", "8 QiB"), 2, "InvalidSpec", 8),
        (("vol", "create", "a/b", "1M"), 2, "InvalidSpec", 8),
        (("vol", "create", "a", "1M", "--allocation=2M"), 2, "InvalidSpec", 8),
        (("vol", "create", "a", "1M", "--limit=fast"), 2, "InvalidSpec", 8),
        (("vol", "create", "a", "1M", "--prealloc=some"), 2, "UsageError", 8),
        (("vol", "create", "a"), 2, "UsageError", 8),
        (("vol", "frobnicate"), 2, "UsageError", 8),
        (("--connect", "nowhere:///", "pool", "list"), 2, "InvalidSpec", 8),
        (("vol", "info", "none"), 3, "VolumeNotFound", 50),
        (("vol", "list", "--pool=none"), 3, "PoolNotFound", 49),
        (("job", "show", "1"), 3, "JobNotFound", 8),
        (("vol", "create", "a", "4E", "--allocation=4E"), 1, "NoSpace", 38),
    ],
)
def test_each_kind_of_failure_has_its_status_and_its_object(
    run: Run, arguments: tuple[str, ...], status: int, error: str, code: int
) -> None:
    ran = run("--json", *arguments)
    assert (ran.status, ran.out) == (status, "")
    assert (ran.error["error"], ran.error["code"]) == (error, code)
    assert ran.error["message"]


def test_wrong_usage_makes_nothing(run: Run, home: Path) -> None:
    run("vol", "create", "a", "8 QiB")
    assert os.listdir(home) == []


def test_a_state_directory_that_another_process_has_is_busy(run: Run, creating: Start) -> None:
    child = creating()
    ran = run("vol", "list")
    assert ran.status == 4
    assert ran.err.startswith("volary: the state directory ")
    assert f"owned by process {child.pid} " in ran.err


def test_an_error_is_one_line(run: Run) -> None:
    run("vol", "create", "a.raw", "1M")
    failed = run("vol", "create", "a.raw", "1M")
    assert failed.err == (
        "volary: pool 'default' has a volume 'a.raw' already; "
        "choose another name, or delete it first\n"
    )


def test_wrong_usage_says_where_help_is(run: Run) -> None:
    ran = run("vol", "create")
    assert ran.status == 2
    assert ran.err.splitlines()[-1] == "volary: try 'volary vol create --help'"


def test_the_log_is_on_standard_error_when_it_is_asked_for(run: Run) -> None:
    run("vol", "list")
    created = run("-v", "vol", "create", "a.raw", "1M")
    assert "job succeeded" in created.err
    assert "operation='create volume'" in created.err
    assert "job succeeded" not in created.out
