from __future__ import annotations

import pytest

from volary.engine.progress import Done, Progress, RateMeter


def test_rate_and_time_left_come_from_the_last_seconds() -> None:
    meter = RateMeter(now=0.0)
    for second in range(1, 11):
        meter.progress(Done(second * 100, 2000), float(second))
    assert meter.progress(Done(1000 + 3 * 500, 4000), 13.0) == Progress(2500, 4000, 500.0, 3.0)


def test_time_left_is_not_told_while_nothing_moves() -> None:
    meter = RateMeter(now=0.0)
    assert meter.progress(Done(0, 100), 1.0).eta is None


def test_no_time_is_left_at_the_end() -> None:
    assert RateMeter(now=0.0).progress(Done(100, 100), 1.0).eta == 0.0


@pytest.mark.parametrize(("done", "total", "fraction"), [(0, 0, 0.0), (1, 4, 0.25), (4, 4, 1.0)])
def test_the_fraction_goes_from_0_to_1(done: int, total: int, fraction: float) -> None:
    assert Progress(done, total).fraction == fraction
