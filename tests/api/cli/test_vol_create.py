"""`volary vol create` of images: their formats, their backing files, their secrets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.api.cli.command import Run

PASSPHRASE = "correct horse"


@pytest.fixture
def other(run: Run, home: Path) -> Path:
    """Return the directory of a second pool, `other`."""
    run("pool", "define", "other", "--target", str(home / "other"), "--build")
    return home / "other"


def test_a_qcow2_is_as_it_was_asked_for(run: Run) -> None:
    options = ("--cluster-size=128K", "--compat=1.1", "--lazy-refcounts", "--extended-l2")
    made = run("--json", "vol", "create", "a.qcow2", "8M", "--format=qcow2", *options).document
    assert (made["format"], made["capacity"]) == ("qcow2", 8 << 20)
    assert made["image"] == {
        "cluster_size": 128 << 10,
        "compat": "1.1",
        "lazy_refcounts": True,
        "extended_l2": True,
        "encryption": None,
        "backing_file": None,
        "backing_format": None,
        "backing_trusted": None,
        "data_file": None,
        "problem": None,
    }


def test_metadata_can_be_preallocated(run: Run) -> None:
    create = ("--json", "vol", "create")
    plain = run(*create, "a.qcow2", "8M", "--format=qcow2").document
    ready = run(*create, "b.qcow2", "8M", "--format=qcow2", "--prealloc=metadata").document
    assert ready["physical"] > plain["physical"]


def test_an_overlay_is_a_qcow2_as_large_as_its_backing_file(run: Run) -> None:
    run("vol", "create", "base.raw", "8M")
    made = run("--json", "vol", "create", "top", "--backing=base.raw").document
    assert (made["format"], made["capacity"]) == ("qcow2", 8 << 20)
    assert (made["image"]["backing_file"], made["image"]["backing_format"]) == ("base.raw", "raw")


def test_an_overlay_may_be_larger(run: Run) -> None:
    run("vol", "create", "base.raw", "8M")
    assert run("--json", "vol", "create", "top", "16M", "--backing=base.raw").document[
        "capacity"
    ] == (16 << 20)


def test_a_backing_file_of_another_pool_is_named_by_its_key_or_its_path(
    run: Run, other: Path
) -> None:
    base = run("--json", "vol", "create", "base.raw", "8M", "--pool=other").document
    for name, backing in (("by-key", base["key"]), ("by-path", base["path"])):
        made = run("--json", "vol", "create", name, "--backing", backing).document
        assert made["image"]["backing_file"] == f"{other}/base.raw"


def test_the_key_of_a_volume_of_the_same_pool_becomes_its_name(run: Run) -> None:
    base = run("--json", "vol", "create", "base.raw", "8M").document
    made = run("--json", "vol", "create", "top", "--backing", base["key"]).document
    assert made["image"]["backing_file"] == "base.raw"


def test_a_backing_file_with_a_colon_is_no_protocol(run: Run) -> None:
    run("vol", "create", "nbd:1", "8M")
    made = run("--json", "vol", "create", "top", "--backing=nbd:1").document
    assert made["image"]["backing_file"] == "./nbd:1"
    assert run("--json", "vol", "info", "top").document["chain"][1]["volume"] == "nbd:1"


def test_an_overlay_of_an_overlay_in_pools_that_are_not_active_is_made(
    run: Run, other: Path
) -> None:
    run("vol", "create", "base.raw", "8M")
    base = run("vol", "path", "base.raw").out.strip()
    run("vol", "create", "middle", "--pool=other", "--backing", base)
    made = run("vol", "create", "top", "--backing", f"{other}/middle")
    assert made.status == 0


def test_a_backing_volume_that_is_missing_is_not_found(run: Run, images: Path) -> None:
    assert run("vol", "create", "top", "--backing=none").status == 3
    assert os.listdir(images) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a", "1M", "--format=qcow3"), "unknown format 'qcow3'"),
        (("a", "1M", "--backing=b", "--format=raw"), "a raw volume has no backing file"),
        (("a", "1M", "--backing-format=raw"), "no backing file; add --backing"),
        (("a", "1M", "--lazy-refcounts"), "lazy_refcounts is an option of qcow2"),
        (("a", "1M", "--format=qcow2", "--encrypt"), "needs a passphrase; name its file"),
        (("a", "1M", "--format=luks"), "a luks volume needs a passphrase; name its file"),
        (("a", "1M", "--secret-file=/dev/null"), "/dev/null holds no passphrase"),
        (("a", "1M", "--secret-file=/dev/zero"), "/dev/zero has more than 65536 bytes"),
        (("a",), "CAPACITY"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    run: Run, home: Path, arguments: tuple[str, ...], words: str
) -> None:
    tried = run("vol", "create", *arguments)
    assert (tried.status, tried.out) == (2, "")
    assert words in tried.err
    assert os.listdir(home) == []


def test_a_secret_without_anything_to_encrypt_is_wrong_usage(run: Run, home: Path) -> None:
    (home / "key").write_text(PASSPHRASE)
    tried = run("vol", "create", "a", "1M", "--secret-file", str(home / "key"))
    assert (tried.status, tried.err) == (
        2,
        "volary: --secret-file, and nothing to encrypt with it; add --encrypt\n",
    )
