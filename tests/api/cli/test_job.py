"""`volary job`, and the history behind it."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from tests.api.cli.command import Run, Start

from volary.api.cli.history import KEPT


def _line(number: int) -> str:
    job = {
        "id": number,
        "operation": "create volume",
        "pool": "default",
        "volume": "a.raw",
        "state": "succeeded",
        "bytes": 0,
        "seconds": 0.1,
        "when": "2026-01-02T03:04:05+00:00",
        "error": None,
    }
    return json.dumps(job) + "\n"


def test_without_past_commands_there_are_no_jobs(run: Run) -> None:
    assert run("job", "list").out.splitlines() == [
        "ID  OPERATION  POOL  VOLUME  STATE  DONE  TIME  WHEN  ERROR"
    ]
    assert run("--json", "job", "list").document == {"owner": None, "jobs": []}


def test_what_commands_did_is_remembered_with_numbers_of_its_own(run: Run) -> None:
    run("vol", "create", "a.raw", "1M", "--prealloc=full")
    run("vol", "create", "a.raw", "1M")
    run("vol", "delete", "a.raw")
    jobs = run("--json", "job", "list").document["jobs"]
    assert [(job["id"], job["operation"], job["state"], job["bytes"]) for job in jobs] == [
        (1, "create volume", "succeeded", 1 << 20),
        (2, "create volume", "failed", 0),
        (3, "delete volume", "succeeded", 0),
    ]
    assert {(job["pool"], job["volume"]) for job in jobs} == {("default", "a.raw")}
    assert jobs[1]["error"]["error"] == "VolumeExists"
    age = datetime.now(UTC) - datetime.fromisoformat(jobs[0]["when"])
    assert 0 <= age.total_seconds() < 60


def test_the_start_of_a_pool_that_a_command_uses_is_no_job_of_its_own(run: Run) -> None:
    run("vol", "list")
    run("vol", "info", "none")
    assert run("--json", "job", "list").document["jobs"] == []


def test_a_job_is_shown(run: Run) -> None:
    run("vol", "create", "a.raw", "1M")
    run("vol", "create", "a.raw", "1M")
    lines = run("job", "show", "2").out.splitlines()
    assert "State:      failed" in lines
    assert lines[-1].startswith("Error:      pool 'default' has a volume 'a.raw' already")


def test_a_job_that_never_was_is_not_found(run: Run) -> None:
    shown = run("--json", "job", "show", "7")
    assert (shown.status, shown.error["error"]) == (3, "JobNotFound")


def test_only_the_last_jobs_are_kept(run: Run, state: Path) -> None:
    state.mkdir(parents=True)
    (state / "jobs.jsonl").write_text("".join(_line(n) for n in range(1, KEPT + 1)))
    run("vol", "create", "a.raw", "1M")
    jobs = run("--json", "job", "list").document["jobs"]
    assert [job["id"] for job in jobs] == list(range(2, KEPT + 2))


def test_lines_that_cannot_be_read_are_passed_over(run: Run, state: Path) -> None:
    state.mkdir(parents=True)
    garbage = [
        b"\xff\xfe\n",
        b"{\n",
        b"[1]\n",
        b"null\n",
        b'{"id": 1}\n',
        _line(1).replace('"seconds": 0.1', '"seconds": "long"').encode(),
        _line(1).replace("2026-01-02T", "once upon a time").encode(),
        b"[" * 100_000 + b"\n",
    ]
    (state / "jobs.jsonl").write_bytes(b"".join(garbage) + _line(4).encode() + b'{"id": 5, "op')
    assert [job["id"] for job in run("--json", "job", "list").document["jobs"]] == [4]
    assert run("job", "list").status == 0
    run("vol", "create", "a.raw", "1M")
    assert [job["id"] for job in run("--json", "job", "list").document["jobs"]] == [4, 5]


def test_cleared_jobs_are_forgotten(run: Run, state: Path) -> None:
    run("vol", "create", "a.raw", "1M")
    assert run("job", "clear").out == "1 job forgotten.\n"
    assert run("job", "clear").out == "0 jobs forgotten.\n"
    assert "jobs.jsonl" not in os.listdir(state)


def test_the_history_is_read_while_another_process_has_the_state_directory(
    run: Run, creating: Start
) -> None:
    run("vol", "create", "b.raw", "1M")
    child = creating()
    listed = run("job", "list")
    assert listed.status == 0
    assert "b.raw" in listed.out
    assert f"process {child.pid} " in listed.err
    assert f"process {child.pid} " in run("--json", "job", "list").document["owner"]


def test_a_process_that_is_gone_no_longer_has_the_state_directory(
    run: Run, creating: Start
) -> None:
    child = creating()
    child.kill()
    child.communicate()
    assert run("--json", "job", "list").document["owner"] is None


def test_a_link_in_the_place_of_the_unfinished_history_is_not_followed(
    run: Run, state: Path, home: Path
) -> None:
    (home / "other").write_text("precious")
    state.mkdir(parents=True)
    (state / ".jobs.jsonl.new").symlink_to(home / "other")
    run("vol", "create", "a.raw", "1M")
    assert (home / "other").read_text() == "precious"
    assert len(run("--json", "job", "list").document["jobs"]) == 1
    assert (state / "jobs.jsonl").is_file()
    assert not (state / "jobs.jsonl").is_symlink()


def test_a_link_in_the_place_of_the_lock_is_not_followed(
    run: Run, state: Path, home: Path
) -> None:
    state.mkdir(parents=True)
    # It would be taken for the lock of this very process, if it were read.
    with open(home / "other", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"process {os.getpid()} (other)")
        lock.flush()
        (state / ".volary.lock").symlink_to(home / "other")
        assert run("--json", "job", "list").document["owner"] is None


def test_what_a_killed_command_left_of_the_history_is_no_obstacle(run: Run, state: Path) -> None:
    state.mkdir(parents=True)
    (state / ".jobs.jsonl.new").write_text("half")
    run("vol", "create", "a.raw", "1M")
    assert len(run("--json", "job", "list").document["jobs"]) == 1
