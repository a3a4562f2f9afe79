"""The figures that Volary promises, measured: `python -m benchmarks --help`.

One file a scenario. Each has a `run(bench)` that prints what it found as plain text and returns
the same as figures: one flat dictionary of numbers, whose names end in their unit.
"""
