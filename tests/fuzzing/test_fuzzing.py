"""A fixed number of a fuzzer's inputs on each target; ``make fuzz RUNS=...`` tries more."""

import importlib.util
import re
import subprocess
import sys

import pytest

from tests.fuzzing.targets import ROOT, TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_makes_a_reader_fail_in_its_own_way(name: str) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris, the fuzzer, exists for CPython 3.11 to 3.13 on Linux x86-64 alone")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzzing", name, str(TARGETS[name].runs), "-seed=1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    tried = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    assert tried is not None
    assert int(tried[1]) >= TARGETS[name].runs


@pytest.mark.parametrize("name", TARGETS)
def test_the_inputs_to_begin_with_are_good_ones(name: str) -> None:
    seeds = TARGETS[name].seeds()
    assert seeds
    for seed in seeds:
        TARGETS[name].run(seed)
