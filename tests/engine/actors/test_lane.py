from __future__ import annotations

from volary.engine.actors.lane import Lane


def lane_with(jobs: int, width: int, batch: int = 1) -> Lane:
    lane = Lane(width, batch=batch)
    for job in range(1, jobs + 1):
        lane.enter(job)
    return lane


def test_as_many_run_as_the_lane_is_wide() -> None:
    lane = lane_with(3, width=2)
    assert [lane.take(), lane.take(), lane.take()] == [[1], [2], []]


def test_those_that_wait_run_in_the_order_in_which_they_came() -> None:
    lane = lane_with(3, width=1)
    order = []
    while jobs := lane.take():
        order += jobs
        lane.leave()
    assert order == [1, 2, 3]


def test_one_that_waits_can_be_dropped() -> None:
    lane = lane_with(3, width=1)
    assert lane.take() == [1]
    lane.drop(2)
    lane.leave()
    assert lane.take() == [3]


def test_a_worker_takes_a_batch_and_no_more() -> None:
    lane = lane_with(5, width=2, batch=3)
    assert [lane.take(), lane.take(), lane.take()] == [[1, 2, 3], [4, 5], []]


def test_nothing_is_taken_when_nothing_waits() -> None:
    lane = Lane(1)
    assert lane.take() == []
    lane.enter(1)
    assert lane.take() == [1]
