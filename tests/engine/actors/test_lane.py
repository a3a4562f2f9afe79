from __future__ import annotations

from volary.engine.actors.lane import Lane


def test_as_many_run_as_the_lane_is_wide() -> None:
    lane = Lane(2)
    assert [lane.enter(job) for job in (1, 2, 3)] == [True, True, False]


def test_those_that_wait_run_in_the_order_in_which_they_came() -> None:
    lane = Lane(1)
    for job in (1, 2, 3):
        lane.enter(job)
    assert [lane.leave(1), lane.leave(2), lane.leave(3)] == [2, 3, None]


def test_one_that_waits_can_leave() -> None:
    lane = Lane(1)
    for job in (1, 2, 3):
        lane.enter(job)
    assert lane.leave(2) is None
    assert lane.leave(1) == 3
