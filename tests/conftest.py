"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes depends on the machine's other work, so it decides nothing.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

REAL_DATA_VARIABLE = "ESDSEG_DFC2021_DIR"


@pytest.fixture(scope="session")
def real_tile() -> Path:
    """Folder of the contest's real Tile1; skips where the variable that names its parent is unset."""
    folder = os.environ.get(REAL_DATA_VARIABLE)
    if not folder:
        pytest.skip(f"{REAL_DATA_VARIABLE} is unset: the real tile of the contest is not at hand")
    return Path(folder) / "Tile1"
