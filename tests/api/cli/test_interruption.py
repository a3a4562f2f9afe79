"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.api.cli.command import Run, Start


def test_ctrl_c_during_a_creation_leaves_nothing_and_exits_130(
    creating: Start, images: Path
) -> None:
    child = creating()
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate()
    assert time.monotonic() - began < 5  # the creation would take a minute
    assert child.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "volary: cancelled: nothing of volume 'a.raw' is left"
    assert os.listdir(images) == []


def test_sigterm_during_a_creation_leaves_nothing_and_exits_143(
    creating: Start, images: Path
) -> None:
    child = creating()
    child.terminate()
    child.communicate()
    assert child.returncode == 143
    assert os.listdir(images) == []


def test_a_cancelled_job_is_remembered_as_cancelled(creating: Start, run: Run) -> None:
    child = creating()
    child.send_signal(signal.SIGINT)
    child.communicate()
    (job,) = run("--json", "job", "list").document["jobs"]
    assert (job["operation"], job["volume"], job["state"]) == (
        *("create volume", "a.raw", "cancelled"),
    )
    assert job["bytes"] < 256 << 20


def test_a_program_hears_of_the_cancel_as_json(creating: Start, run: Run) -> None:
    run("vol", "list")  # the default pool is there already
    child = creating("--json")
    child.send_signal(signal.SIGINT)
    out, err = child.communicate()
    assert out == ""
    assert err == (
        '{"error": "JobCancelled", "code": 78, '
        '"message": "cancelled: nothing of volume \'a.raw\' is left"}\n'
    )


def test_a_cancelled_name_can_be_used_again_at_once(creating: Start, run: Run) -> None:
    child = creating()
    child.send_signal(signal.SIGINT)
    child.communicate()
    assert run("vol", "create", "a.raw", "1M").status == 0
