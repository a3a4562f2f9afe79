"""`python -m benchmarks [NAME ...]`: run the scenarios that are named, or all of them."""

from __future__ import annotations

import argparse
import sys
import tempfile

from benchmarks import (
    allocation,
    cancel,
    clone,
    creation_rate,
    events,
    extent_size,
    hostile_xml,
    lookup,
    many_pools,
    qcow2_rate,
    reflink,
    volume_document,
)
from benchmarks.runner import Scenario, run_all

SCENARIOS: dict[str, Scenario] = {
    # Creation first: its files are deleted last, and nothing was deleted before them.
    "creation_rate": creation_rate.run,
    "qcow2_rate": qcow2_rate.run,
    "events": events.run,
    "lookup": lookup.run,
    "allocation": allocation.run,
    "extent_size": extent_size.run,
    "clone": clone.run,
    "reflink": reflink.run,
    "cancel": cancel.run,
    "many_pools": many_pools.run,
    "hostile_xml": hostile_xml.run,
    "volume_document": volume_document.run,
}


def main() -> int:
    """Read the command line, run, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"scenarios to run, all if none is given: {', '.join(SCENARIOS)}",
    )
    parser.add_argument(
        "--directory",
        metavar="DIR",
        help="an existing directory to measure in, on the file system that is to be measured; "
        "everything is kept in a new directory in it, and removed at the end (default: .)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and few rounds: about a minute"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE, too")
    options = parser.parse_args()
    for name in options.names:
        if name not in SCENARIOS:
            parser.error(f"unknown scenario {name!r}; known: {', '.join(SCENARIOS)}")
    chosen = {name: SCENARIOS[name] for name in SCENARIOS if name in (options.names or SCENARIOS)}
    try:
        try:
            directory = tempfile.mkdtemp(prefix="volary-bench-", dir=options.directory or ".")
        except OSError as error:
            parser.error(f"--directory: {error}")
        return run_all(chosen, directory=directory, quick=options.quick, json_file=options.json)
    except KeyboardInterrupt:
        print("interrupted; nothing of the benchmark is left", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
