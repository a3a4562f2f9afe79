"""The volume documents in tests/corpus/volumes, and what each is for.

A comment at the top of each says which types of pools it is meant for ("pools: dir disk"), and
what is done with it: "metadata" and "validate" are libvirt's flags; "real" is of a size that
only a real pool takes or refuses; "parse" is only read and written again, since deriving a key
takes QEMU seconds. "@DIR@" stands for the directory that the pool is on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "corpus" / "volumes"
_HEAD = re.compile(r"<!-- pools: ([a-z -]+?)(?:; ([a-z ]+))? -->")
_FLAGS = {"metadata": 1, "validate": 4}


@dataclass(frozen=True)
class VolumeDocument:
    """A document of the corpus."""

    name: str
    text: str
    pools: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def flags(self) -> int:
        """The flags to create it with."""
        return sum(_FLAGS.get(word, 0) for word in self.words)

    def on(self, directory: Path) -> str:
        """Return the document for a pool on this directory."""
        return self.text.replace("@DIR@", str(directory))


def _read(path: Path) -> VolumeDocument:
    text = path.read_text()
    head = _HEAD.search(text)
    assert head is not None, path
    return VolumeDocument(path.stem, text, tuple(head[1].split()), tuple((head[2] or "").split()))


CORPUS = {path.stem: _read(path) for path in sorted(_FOLDER.iterdir())}
