from __future__ import annotations

import pytest

from volary.engine.wipe_algorithm import Pass, WipeAlgorithm


@pytest.mark.parametrize(
    ("algorithm", "count"),
    [
        (WipeAlgorithm.ZERO, 1),
        (WipeAlgorithm.NNSA, 4),
        (WipeAlgorithm.DOD, 4),
        (WipeAlgorithm.BSI, 9),
        (WipeAlgorithm.GUTMANN, 35),
        (WipeAlgorithm.SCHNEIER, 7),
        (WipeAlgorithm.PFITZNER7, 7),
        (WipeAlgorithm.PFITZNER33, 33),
        (WipeAlgorithm.RANDOM, 1),
        (WipeAlgorithm.TRIM, 0),
    ],
)
def test_an_algorithm_has_the_passes_that_it_is_known_for(
    algorithm: WipeAlgorithm, count: int
) -> None:
    assert len(algorithm.passes) == count


def test_the_numbers_are_those_of_libvirt() -> None:
    assert [each.name for each in sorted(WipeAlgorithm)] == [
        "ZERO",
        "NNSA",
        "DOD",
        "BSI",
        "GUTMANN",
        "SCHNEIER",
        "PFITZNER7",
        "PFITZNER33",
        "RANDOM",
        "TRIM",
    ]
    assert sorted(WipeAlgorithm) == list(range(10))


def test_bsi_clears_one_bit_after_the_other() -> None:
    assert b"".join(each for each in WipeAlgorithm.BSI.passes if isinstance(each, bytes)) == (
        bytes.fromhex("ff fe fd fb f7 ef df bf 7f")
    )


def test_gutmann_is_random_at_both_ends_and_27_patterns_between() -> None:
    passes = WipeAlgorithm.GUTMANN.passes
    assert passes[:4] == passes[-4:] == (Pass.RANDOM,) * 4
    assert [each.hex() for each in passes[4:-4] if isinstance(each, bytes)] == [
        *("55", "aa", "924924", "492492", "249249"),
        *(f"{digit:x}{digit:x}" for digit in range(16)),
        *("924924", "492492", "249249", "6db6db", "b6db6d", "db6db6"),
    ]
