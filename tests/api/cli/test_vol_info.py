"""`volary vol info` and `list` of images: what their headers say, and what they are backed by."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.api.cli.command import Run, Start


@pytest.fixture
def chain(run: Run, home: Path) -> Path:
    """Make top on middle, both in `other`, on base.raw; return the directory of `other`."""
    run("pool", "define", "other", "--target", str(home / "other"), "--build")
    base = run("--json", "vol", "create", "base.raw", "1M").document["path"]
    run("vol", "create", "middle", "--pool=other", "--backing", base)
    run("vol", "create", "top", "--pool=other", "--backing=middle")
    return home / "other"


def test_a_header_is_shown_as_far_as_its_format_has_it(run: Run) -> None:
    run("vol", "create", "a", "1M", "--format=qcow2", "--compat=0.10")
    assert run("vol", "info", "a").out.splitlines()[9:] == [
        "Cluster size:    64.00 KiB",
        "Compat:          0.10",
        "Lazy refcounts:  no",
        "Extended L2:     no",
        "Encryption:      none",
    ]


def test_a_chain_is_drawn_as_a_tree_across_pools_that_were_not_active(
    run: Run, chain: Path
) -> None:
    shown = run("vol", "info", "top", "--pool=other").out
    _, _, tree = shown.partition("Chain:")
    assert [line.partition(" (")[0].strip() for line in tree.splitlines()] == [
        "top",
        "└── middle",
        "└── base.raw",
    ]
    first, second, third = (line.index(" (") for line in shown.splitlines()[-3:])
    assert first < second < third


def test_a_chain_is_a_list_for_a_program(run: Run, chain: Path, images: Path) -> None:
    links = run("--json", "vol", "info", "top", "--pool=other").document["chain"]
    assert [(link["path"], link["pool"], link["volume"], link["format"]) for link in links] == [
        (f"{chain}/top", "other", "top", "qcow2"),
        (f"{chain}/middle", "other", "middle", "qcow2"),
        (f"{images}/base.raw", "default", "base.raw", "raw"),
    ]
    assert [link["problem"] for link in links] == [None, None, None]


def test_a_terminal_without_box_drawing_gets_ascii(
    run: Run, chain: Path, process: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    out, _ = process("vol", "info", "top", "--pool=other").communicate()
    assert "`-- middle (" in out


def test_where_a_chain_cannot_be_followed_it_says_why(run: Run, home: Path) -> None:
    run("vol", "create", "top", "1M", "--backing=/nowhere/base", "--backing-format=raw")
    shown = run("vol", "info", "top")
    assert shown.status == 0
    assert "! backing file '/nowhere/base' is in no pool, and is not opened" in shown.out
    last = run("--json", "vol", "info", "top").document["chain"][-1]
    assert (last["name"], last["volume"], last["capacity"]) == ("/nowhere/base", None, None)
    assert last["problem"].startswith("backing file '/nowhere/base' is in no pool")


def test_a_pool_below_that_does_not_start_is_said_and_the_rest_shown(
    run: Run, chain: Path, images: Path
) -> None:
    shutil.rmtree(images)
    shown = run("vol", "info", "top", "--pool=other")
    assert shown.status == 0
    assert "└── middle" in shown.out
    assert str(images) in shown.err


def test_a_broken_header_is_marked_in_the_list_and_told_by_info(run: Run, images: Path) -> None:
    run("vol", "create", "a", "1M", "--format=qcow2")
    with open(images / "a", "r+b") as file:
        file.seek(20)
        file.write(b"\xff\xff\xff\xff")  # the clusters' size, as a power of two
    assert "qcow2 (problem)" in run("vol", "list").out
    assert "Problem: " in run("vol", "info", "a").out
    (listed,) = run("--json", "vol", "list").document
    assert listed["format"] == "qcow2"
    assert listed["image"]["problem"]
