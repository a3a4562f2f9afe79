from __future__ import annotations

from typing import Any

import pytest

from volary.engine.errors import InvalidSpec
from volary.engine.settings import Settings


def test_bounds_are_taken_as_they_are_given() -> None:
    settings = Settings(allocators_per_pool=1, finished_jobs_per_pool=0, progress_interval=1)
    assert (settings.allocators_per_pool, settings.progress_interval) == (1, 1)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"allocators_per_pool": "x"}, "allocators_per_pool: 'x' is no whole number; give an int"),
        ({"allocators_per_pool": True}, "allocators_per_pool: True is no whole number"),
        ({"deletions_per_pool": 1.5}, "deletions_per_pool: 1.5 is no whole number"),
        ({"finished_jobs_per_pool": None}, "finished_jobs_per_pool: None is no whole number"),
        ({"progress_interval": "x"}, "progress_interval: 'x' is no number; give seconds"),
        ({"progress_interval": True}, "progress_interval: True is no number"),
        ({"progress_interval": float("nan")}, "give seconds above 0"),
        ({"allocators_per_pool": 0}, "at least 1 is needed"),
        ({"deletions_per_pool": 0}, "at least 1 is needed"),
        ({"finished_jobs_per_pool": -1}, "is negative"),
        ({"progress_interval": 0}, "give seconds above 0"),
    ],
)
def test_bounds_that_cannot_be_meant_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidSpec, match=reason):
        Settings(**options)
