"""The ways to write over what a volume holds."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TypeAlias


class Pass(Enum):
    """A pass that writes no pattern."""

    RANDOM = "random"
    """Unpredictable bytes."""
    VERIFY = "verify"
    """Nothing: what the pass before wrote is read back and compared."""


WipePass: TypeAlias = bytes | Pass
"""One pass over the volume: a pattern to repeat, or one of `Pass`."""


class WipeAlgorithm(IntEnum):
    """The ways to write over what a volume holds, with libvirt's numbers
    (virStorageVolWipeAlgorithm).

    The passes are those that the manual of scrub(1), version 2.6, gives under SCRUB METHODS,
    which is what libvirt runs; those of `GUTMANN` are the table of Peter Gutmann's "Secure
    Deletion of Data from Magnetic and Solid-State Memory" (USENIX Security, 1996), in its order.
    """

    ZERO = 0
    """Zeros, once."""
    NNSA = 1
    """NNSA policy letter NAP-14.1-C: random twice, zeros, verify."""
    DOD = 2
    """DoD 5220.22-M, section 8-306, procedure d: random, zeros, ones, verify."""
    BSI = 3
    """The German BSI's nine patterns: all bits, then all but one of each."""
    GUTMANN = 4
    """Random four times, 27 patterns, random four times."""
    SCHNEIER = 5
    """Bruce Schneier's "Applied Cryptography": zeros, ones, random five times."""
    PFITZNER7 = 6
    """Roy Pfitzner's: random seven times."""
    PFITZNER33 = 7
    """Roy Pfitzner's: random 33 times."""
    RANDOM = 8
    """Random, once."""
    TRIM = 9
    """Nothing is written: the space is given back, and what was there reads as zeros."""

    @property
    def passes(self) -> tuple[WipePass, ...]:
        """What is done to all of the volume, one after the other; nothing for `TRIM`."""
        return _PASSES[self]


_ZEROS = b"\x00"
_ONES = b"\xff"

_THIRDS = (b"\x92\x49\x24", b"\x49\x24\x92", b"\x24\x92\x49")
"""Every third bit set, from each of the three places to begin at."""

_PASSES: dict[WipeAlgorithm, tuple[WipePass, ...]] = {
    WipeAlgorithm.ZERO: (_ZEROS,),
    WipeAlgorithm.NNSA: (Pass.RANDOM, Pass.RANDOM, _ZEROS, Pass.VERIFY),
    WipeAlgorithm.DOD: (Pass.RANDOM, _ZEROS, _ONES, Pass.VERIFY),
    WipeAlgorithm.BSI: (_ONES, *(bytes([0xFF ^ 1 << bit]) for bit in range(8))),
    WipeAlgorithm.GUTMANN: (
        *[Pass.RANDOM] * 4,
        b"\x55",
        b"\xaa",
        *_THIRDS,
        *(bytes([0x11 * digit]) for digit in range(16)),
        *_THIRDS,
        b"\x6d\xb6\xdb",
        b"\xb6\xdb\x6d",
        b"\xdb\x6d\xb6",
        *[Pass.RANDOM] * 4,
    ),
    WipeAlgorithm.SCHNEIER: (_ZEROS, _ONES, *[Pass.RANDOM] * 5),
    WipeAlgorithm.PFITZNER7: (Pass.RANDOM,) * 7,
    WipeAlgorithm.PFITZNER33: (Pass.RANDOM,) * 33,
    WipeAlgorithm.RANDOM: (Pass.RANDOM,),
    WipeAlgorithm.TRIM: (),
}
