from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from esdseg.ablation.night_projections import night_channels, project, recomputable_nights
from esdseg.config.preprocessing import Recipe, SensorSteps
from esdseg.preprocessing.conversions import project_max, project_median, to_log_radiance
from esdseg.preprocessing.preprocess import preprocess
from esdseg.sensors.sensors import RasterName, get_sensor
from esdseg.store.store import Store, open_store
from tests.make_tiles import write_tile
from tests.preprocessing.raw_tiles import config_for

NIGHTS = get_sensor("viirs").dates[:4]
PROJECTIONS = {"DNB_max": project_max, "DNB_median": project_median}


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tile of four nights with bright towns, a glitch and pixels without data."""
    folder = tmp_path_factory.mktemp("raw")
    generator = np.random.default_rng(0)
    numbers = generator.integers(0, 250, (len(NIGHTS), 800, 800)).astype(np.uint16)
    numbers[generator.random(numbers.shape) < 0.05] = 65535
    numbers[:, :50] = generator.integers(0, 5, (len(NIGHTS), 50, 800))
    numbers[2, :10, :10] = 222
    values = {RasterName("viirs", night, "DNB"): one for night, one in zip(NIGHTS, numbers, strict=True)}
    write_tile(folder / "raw/Tile1", dates={"viirs": NIGHTS}, values=values)
    return folder


@pytest.fixture(scope="module")
def whole(raw_dir: Path) -> Store:
    return preprocessed(raw_dir, NIGHTS, raw_dir / "whole")


def preprocessed(raw_dir: Path, nights: Sequence[date], folder: Path) -> Store:
    preprocess(
        config_for(raw_dir, processed_dir=folder, val_fraction=0, selected_dates={"viirs": list(nights)})
    )
    return open_store(folder)


@pytest.mark.parametrize("gone", [1, 3])
def test_projections_without_a_night_are_those_of_a_store_without_it(
    gone: int, raw_dir: Path, whole: Store, tmp_path: Path
) -> None:
    left = [night for position, night in enumerate(NIGHTS) if position != gone]
    without = preprocessed(raw_dir, left, tmp_path)
    positions = np.array([whole.channels.index(channel) for channel in night_channels(left)])
    nights = whole.read_tile("Tile1", positions)

    assert recomputable_nights(whole) == NIGHTS
    for band in PROJECTIONS:
        names = [channel.name for channel in without.channels]
        stored = without.read_tile("Tile1")[names.index(f"viirs_{band}")]
        np.testing.assert_array_equal(project(nights, band), stored)
        assert np.isnan(stored).sum() < np.isnan(nights).any(axis=0).sum(), "nights fill each other's gaps"


def stored(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    return to_log_radiance(numbers).astype(np.float16)


def test_projections_of_all_whole_numbers_up_to_255_are_exact() -> None:
    pairs = np.stack(np.meshgrid(np.arange(256), np.arange(256))).astype(np.float32)

    for band, reference in PROJECTIONS.items():
        np.testing.assert_array_equal(project(stored(pairs), band), stored(reference(pairs)))


def test_projections_of_brighter_numbers_are_off_by_a_step_of_half_precision_at_most() -> None:
    numbers = np.random.default_rng(0).integers(0, 65534, (4, 500, 500)).astype(np.float32)

    assert (project(stored(numbers), "DNB_max") == stored(project_max(numbers))).all()
    steps = project(stored(numbers), "DNB_median").view(np.int16) - stored(project_median(numbers)).view(
        np.int16
    )
    assert np.abs(steps).max() <= 1


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(viirs=SensorSteps(smoothing_sigma_px=1)),
        Recipe(scale_by="tile"),
    ],
)
def test_nights_that_were_changed_since_cannot_be_projected_anew(recipe: Recipe, whole: Store) -> None:
    settings = whole.manifest.config.model_copy(update={"recipe": recipe})
    manifest = whole.manifest.model_copy(update={"config": settings})

    assert recomputable_nights(Store(whole.path, manifest, "")) is None


def test_a_store_without_its_nights_cannot_project_them_anew(whole: Store) -> None:
    manifest = whole.manifest.model_copy(update={"channels": ("viirs_DNB_max", "viirs_DNB_median")})

    assert recomputable_nights(Store(whole.path, manifest, "")) is None
