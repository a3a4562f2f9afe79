"""The fuzz targets, with the seeds that the fuzzer begins with; see fuzz/."""

from __future__ import annotations

import importlib

import pytest


def test_the_seeds_of_each_target_are_recognised_as_promised(
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    monkeypatch.syspath_prepend(str(pytestconfig.rootpath))
    fuzzed = importlib.import_module("fuzz.targets")
    for target in fuzzed.TARGETS:
        inputs = list(fuzzed.seeds(target))
        assert inputs
        for data in inputs:
            fuzzed.try_one(target, data)
