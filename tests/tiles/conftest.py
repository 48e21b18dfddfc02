"""What several tests of raw tiles share."""

import os
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from esdseg.sensors.sensors import SensorTable
from tests.make_tiles import write_tile

FEW_DATES: dict[str, list[date]] = {
    "viirs": [date(2020, 8, 8), date(2020, 8, 11)],
    "sentinel1": [date(2020, 7, 23)],
    "sentinel2": [date(2020, 8, 11), date(2020, 8, 16)],
}
"""Enough to check everything that does not need the full set: 28 rasters."""

RED_FILE = "L2A_20200811_B04.tif"
"""One of these rasters, for tests to spoil."""


def own_sensor(**settings: object) -> SensorTable:
    """A description of one optical sensor called "own", with settings in place of the usual ones."""
    usual = {
        "title": "One's own",
        "kind": "optical",
        "files": ["X_{date:%Y%m%d}_{band}"],
        "dtypes": ["uint16"],
        "conversion": {"name": "reflectance", "scale": 10_000},
        "bands": {"B2": {"native_size_m": 10, "role": "blue"}},
    }
    return SensorTable.model_validate({"sensors": {"own": usual | settings}})


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Run a test without the rights of the superuser, to whom no file is closed."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(scope="session")
def faultless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small faultless tiles, with a few dates of three sensors; tests change copies of it."""
    folder = tmp_path_factory.mktemp("faultless")
    for number in (1, 2):
        write_tile(folder / f"Tile{number}", dates=FEW_DATES, seed=number)
    return folder


@pytest.fixture
def raw_dir(faultless: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(faultless, tmp_path / "raw"))
