from __future__ import annotations

import pytest

import volary
from volary import Job
from volary.engine.actors.leases import Leases


def job(number: int) -> Job[None]:
    return Job(number, "clone volume", pool="other", convert=lambda _: None)


@pytest.fixture
def leases() -> Leases:
    return Leases("images", {})


def test_readers_share_a_volume(leases: Leases) -> None:
    first, second = job(1), job(2)
    leases.read("a", first)
    leases.read("a", second)
    assert leases.readers("a") == (first, second)


def test_a_writer_waits_for_no_reader_and_is_told_who_reads(leases: Leases) -> None:
    leases.read("a", job(7))
    leases.read("a", job(8))
    with pytest.raises(volary.VolumeBusy, match=r"job 7 \(clone volume\), job 8.*those jobs"):
        leases.write("a", job(9))
    assert leases.writer("a") is None


def test_a_reader_is_told_who_writes(leases: Leases) -> None:
    leases.write("a", job(7))
    with pytest.raises(volary.VolumeBusy, match=r"volume 'a' of pool 'images'.*job 7.*that job"):
        leases.read("a", job(8))
    assert leases.readers("a") == ()


def test_a_second_writer_is_told_who_writes(leases: Leases) -> None:
    leases.write("a", job(7))
    with pytest.raises(volary.VolumeBusy, match="job 7"):
        leases.write("a", job(8))


def test_a_writer_may_come_when_the_one_before_has_released(leases: Leases) -> None:
    leases.write("a", job(7))
    leases.release("a")
    later = job(8)
    leases.write("a", later)
    assert leases.writer("a") is later


def test_a_reader_whose_job_is_over_keeps_no_writer_out(leases: Leases) -> None:
    reader = job(7)
    leases.read("a", reader)
    reader.fail(volary.NoSpace("full"))
    leases.write("a", job(8))
    assert leases.all_readers() == {}


def test_a_lease_is_over_before_anybody_hears_of_the_outcome(leases: Leases) -> None:
    reader = job(7)
    leases.read("a", reader)
    seen = []
    reader.at_end(lambda: seen.append(leases.readers("a")))
    reader.succeed(None)
    assert seen == [()]


def test_leases_of_another_volume_are_nobodys_concern(leases: Leases) -> None:
    leases.write("a", job(7))
    leases.read("b", job(8))
    leases.write("c", job(9))


def test_the_readers_are_inherited() -> None:
    before = Leases("images", {})
    reader = job(7)
    before.read("a", reader)
    after = Leases("images", before.all_readers())
    with pytest.raises(volary.VolumeBusy, match="job 7"):
        after.write("a", job(8))
