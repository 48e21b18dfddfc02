"""Settings of the process act in a new process that has not loaded PyTorch."""

import importlib.util
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUNE = "from esdseg.system.tuning import tune_process; tune_process()"
LOAD = TUNE + "; import ctypes; ctypes.CDLL({library!r})"

COUNT_FAULTS = """
import resource
import numpy as np
{first}
def fill() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(100_000_000, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fill()
print(min(fill() for _ in range(3)))
"""


def page_faults(first: str) -> int:
    """Return how many pages a process takes from the system for an array as large as one it has freed."""
    code = COUNT_FAULTS.format(first=first)
    return int(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's malloc is told to keep memory")
def test_memory_of_a_freed_array_is_used_again() -> None:
    kept = page_faults(TUNE)

    assert kept < 100 < page_faults("")


def spin_count(**chosen: str) -> str:
    """Return the rounds that PyTorch's OpenMP reads when it is loaded in a new process."""
    package = importlib.util.find_spec("torch")
    assert package is not None
    assert package.origin is not None
    library = next((Path(package.origin).parent / "lib").glob("libgomp*"), None)
    if library is None:
        pytest.skip("PyTorch does not bring GNU's OpenMP here")
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    shown = subprocess.run(
        [sys.executable, "-c", LOAD.format(library=str(library))],
        env={**unset, "OMP_DISPLAY_ENV": "verbose", **chosen},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    found = re.search(r"GOMP_SPINCOUNT = '(\w+)'", shown)
    assert found is not None, shown
    return found[1]


def test_threads_wait_briefly() -> None:
    assert spin_count() == "10000"


@pytest.mark.parametrize(
    ("chosen", "rounds"), [({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "passive"}, "0")]
)
def test_what_the_user_has_decided_stands(chosen: dict[str, str], rounds: str) -> None:
    assert spin_count(**chosen) == rounds
