"""What every test may use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

import volary

NeedTool = Callable[[str, str], str]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where nothing may be skipped (in CI), a skip is a failure that says what is missing."""
    report = yield
    if report.skipped and os.environ.get("VOLARY_NO_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def need_tool() -> NeedTool:
    """Return the path of a system's command, or skip naming the package that has it."""

    def need(command: str, package: str) -> str:
        path = shutil.which(command, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if path is None:
            pytest.skip(f"{command} is missing: install the package {package}")
        return path

    return need


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[volary.Connection]:
    """An engine of the test's own."""
    with volary.open(state_dir=tmp_path / "state") as connection:
        yield connection


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The directory of `pool`."""
    return tmp_path / "images"


@pytest.fixture
def pool(conn: volary.Connection, target: Path) -> volary.Pool:
    """An active pool, empty."""
    return conn.create_pool(volary.PoolSpec("images", target=target), volary.PoolStart.BUILD)
