import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

LOAD = (
    "from esdseg.system.tuning import wait_briefly; wait_briefly(); import ctypes; ctypes.CDLL({library!r})"
)


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
