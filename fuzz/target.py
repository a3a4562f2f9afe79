"""`python -m fuzz.target NAME …`: fuzz one target; libFuzzer's options follow its name.

It has a process of its own, since libFuzzer ends the one that it runs in.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["volary.engine.formats"]):
    from fuzz.targets import entry


def main() -> None:
    """Fuzz until libFuzzer says that it is enough."""
    atheris.Setup([sys.argv[0], *sys.argv[2:]], entry(sys.argv[1]))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
