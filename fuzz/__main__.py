"""`python -m fuzz [TARGET ...]`: fuzz the recognisers, one after the other."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.targets import TARGETS, seeds

_FIGURES = re.compile(r"^#(\d+)\t\S+\s+cov: (\d+) ft: (\d+)", re.MULTILINE)
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_SLOWEST = 10  # seconds for one input, after which it counts as a finding


def fuzz(target: str, seconds: int, findings: Path) -> bool:
    """Fuzz one target, say how it went, and return whether nothing was found."""
    with tempfile.TemporaryDirectory(prefix="volary-fuzz-") as corpus:
        for number, seed in enumerate(seeds(target)):
            Path(corpus, f"seed-{number}").write_bytes(seed)
        command = [
            *(sys.executable, "-m", "fuzz.target", target, corpus),
            *(f"-max_total_time={seconds}", f"-timeout={_SLOWEST}", "-max_len=65536"),
            *("-print_final_stats=1", f"-artifact_prefix={findings}{os.path.sep}{target}-"),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    executions = _EXECUTIONS.search(done.stderr)
    figures = _FIGURES.findall(done.stderr)
    covered = figures[-1][1:] if figures else ("?", "?")
    count = int(executions[1]) if executions else 0
    passed = done.returncode == 0
    result = "nothing found" if passed else f"FAILED with exit code {done.returncode}"
    print(
        f"{target:8} {count:>10,} executions, {covered[0]:>4} edges, {covered[1]:>5} features: "
        f"{result}",
        flush=True,
    )
    if not passed:
        print(done.stdout[-2000:], done.stderr[-4000:], sep="\n", flush=True)
    return passed


def main() -> int:
    """Read the command line, fuzz, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=main.__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"all if none is given: {', '.join(TARGETS)}"
    )
    parser.add_argument(
        "--seconds", type=int, default=600, help="of all targets together (default: %(default)s)"
    )
    parser.add_argument(
        "--findings",
        type=Path,
        default=Path("fuzz-findings"),
        help="where inputs that fail are kept (default: %(default)s)",
    )
    options = parser.parse_args()
    targets = options.targets or TARGETS
    for target in targets:
        if target not in TARGETS:
            parser.error(f"unknown target {target!r}; known: {', '.join(TARGETS)}")
    options.findings.mkdir(parents=True, exist_ok=True)
    share = max(1, options.seconds // len(targets))
    passed = [fuzz(target, share, options.findings) for target in targets]
    if all(passed):
        return 0
    print(f"The inputs that failed are in {options.findings}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
