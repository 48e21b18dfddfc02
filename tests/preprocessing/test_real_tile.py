"""The contest's real tile through the whole of preprocessing, against values computed from its TIFFs here."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from scipy.ndimage import gaussian_filter

from esdseg.config.preprocessing import COURSE_RECIPE, PreprocessConfig
from esdseg.preprocessing.preprocess import preprocess
from esdseg.store.statistics import HalfArray
from esdseg.store.store import Store, open_store
from tests.make_tiles import write_raster
from tests.preprocessing.raw_tiles import names_of

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
Values = npt.NDArray[np.float64]


def read(tile: Path, name: str) -> Values:
    with rasterio.open(tile / name) as source:
        return source.read(1).astype(np.float64)


@pytest.fixture(scope="module")
def store(real_tile: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    config = PreprocessConfig(
        raw_dir=real_tile, processed_dir=tmp_path_factory.mktemp("processed"), val_fraction=0, workers=1
    )
    preprocess(config)
    return open_store(config.processed_dir)


@pytest.fixture(scope="module")
def stored(store: Store) -> dict[str, HalfArray]:
    """Every stored channel by its name."""
    return dict(zip(names_of(store, "Tile1"), store.read_tile("Tile1"), strict=True))


def expected_channels(tile: Path) -> dict[str, Values]:
    """Compute all channels in double precision, straight from the files."""
    expected = {}
    nights = {}
    for path in tile.glob("*.tif"):
        parts = path.stem.split("_")
        if path.name.startswith("DNB"):
            day = str(np.datetime64("2019-12-31") + int(parts[2][-3:]))
            # On this tile everything above 20 is a glitch of one night.
            numbers = read(tile, path.name)
            nights[day] = np.where(numbers > 20, np.nan, numbers)
        elif path.name.startswith("S1A"):
            day = f"{parts[3][:4]}-{parts[3][4:6]}-{parts[3][6:]}"
            expected[f"sentinel1_{day}_{parts[4]}"] = 10 * np.log10(read(tile, path.name))
        elif path.name.startswith("L2A"):
            day = f"{parts[1][:4]}-{parts[1][4:6]}-{parts[1][6:]}"
            numbers = read(tile, path.name)
            expected[f"sentinel2_{day}_{parts[2]}"] = np.where(numbers == 0, np.nan, numbers / 10_000)
        elif path.name.startswith("LC08"):
            expected[f"landsat8_{parts[2]}_{parts[3]}"] = read(tile, path.name) / 10_000
    for day, numbers in nights.items():
        expected[f"viirs_{day}_DNB"] = np.log1p(numbers)
    stack = np.stack(list(nights.values()))
    expected["viirs_DNB_max"] = np.log1p(np.nanmax(stack, axis=0))
    expected["viirs_DNB_median"] = np.log1p(np.nanmedian(stack, axis=0))
    return expected


@pytest.fixture(scope="module")
def expected(real_tile: Path) -> dict[str, Values]:
    return expected_channels(real_tile)


def test_every_channel_is_that_of_an_independent_computation_within_half_precision(
    stored: dict[str, HalfArray], expected: dict[str, Values]
) -> None:
    assert len(stored) == 100
    assert set(stored) == set(expected)
    # Half a unit in the last place of 11 bits, and a little for single precision on the way.
    for name, values in expected.items():
        found = stored[name].astype(np.float64)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(values), err_msg=name)
        error = np.abs(found - values) - np.abs(values) * 2**-11 * 1.01
        assert np.nanmax(error) <= 1e-6, name


def test_zero_rows_of_the_60_m_bands_are_no_data(stored: dict[str, HalfArray], real_tile: Path) -> None:
    for band in ("B01", "B09"):
        zeros = read(real_tile, f"L2A_20200811_{band}.tif") == 0
        assert zeros.any()
        np.testing.assert_array_equal(np.isnan(stored[f"sentinel2_2020-08-11_{band}"]), zeros)
        assert set(np.flatnonzero(zeros.any(axis=1))) == {0}


def test_sentinel1_means_are_those_of_the_dataset_notes(store: Store) -> None:
    mean = store.channel_statistics(["Tile1"]).mean
    for band, decibels in (("VV", -10.7), ("VH", -17.6)):
        chosen = [channel.sensor.name == "sentinel1" and channel.band == band for channel in store.channels]
        assert np.mean(mean[chosen]) == pytest.approx(decibels, abs=0.3)


def test_glitches_of_day_231_are_no_data_and_nothing_else_is(
    stored: dict[str, HalfArray], real_tile: Path
) -> None:
    glitches = read(real_tile, "DNB_VNP46A1_A2020231.tif") > 20
    assert glitches.mean() == pytest.approx(0.007, abs=0.001)
    nights = [name for name in stored if name.startswith("viirs_2020")]
    assert len(nights) == 9
    for name in nights:
        expected = glitches if name == "viirs_2020-08-18_DNB" else np.zeros_like(glitches)
        np.testing.assert_array_equal(np.isnan(stored[name]), expected)


def test_labels_are_those_of_the_dataset_notes(store: Store) -> None:
    assert store.class_counts(["Tile1"]).tolist() == [211, 45, 0, 0]


def test_course_recipe_scaled_by_tile_is_that_of_an_independent_computation(
    expected: dict[str, Values], real_tile: Path, tmp_path: Path
) -> None:
    recipe = COURSE_RECIPE.model_copy(update={"scale_by": "tile"})
    bands = {"sentinel1": ("VV",), "sentinel2": ("B04",)}
    config = PreprocessConfig(
        raw_dir=real_tile,
        processed_dir=tmp_path,
        val_fraction=0,
        workers=1,
        recipe=recipe,
        selected_bands=bands,
    )
    preprocess(config)
    store = open_store(tmp_path)
    for prefix, band, fraction, sigma_px, gamma in (
        ("sentinel1", "VV", 0.01, 1.0, 1.0),
        ("sentinel2", "B04", 0.05, 0.0, 1 / 2.2),
    ):
        names = [name for name in names_of(store, "Tile1") if name.startswith(prefix) and name.endswith(band)]
        dates = np.stack([expected[name] for name in names])
        if sigma_px:
            dates = np.stack([gaussian_filter(image, sigma_px) for image in dates])
        low, high = np.quantile(dates, [fraction, 1 - fraction])
        scaled = ((np.clip(dates, low, high) - low) / (high - low)) ** gamma
        image = store.read_tile("Tile1").astype(np.float64)
        for name, values in zip(names, scaled, strict=True):
            found = image[names_of(store, "Tile1").index(name)]
            # Near 0 the power of 1 / 2.2 is steep: the rounding of stored values shows most there.
            np.testing.assert_allclose(found ** (1 / gamma), values ** (1 / gamma), atol=2e-3)


def test_1000_added_to_sentinel2_and_subtracted_gives_the_same_store(
    stored: dict[str, HalfArray], real_tile: Path, tmp_path: Path
) -> None:
    (tmp_path / "Tile1").mkdir()
    for path in real_tile.rglob("L2A_*_B0[1248].tif"):
        with rasterio.open(path) as source:
            values = source.read(1)
        # Pixels that were not imaged stay 0.
        write_raster(tmp_path / "Tile1" / path.name, np.where(values == 0, values, values + np.uint16(1000)))
    config = PreprocessConfig(
        raw_dir=tmp_path,
        processed_dir=tmp_path / "processed",
        val_fraction=0,
        workers=1,
        selected_bands={"sentinel2": ["B01", "B02", "B04", "B08"]},
        reflectance_offset="subtract",
    )
    (note,) = preprocess(config).notes
    assert "2020-08-11, 2020-08-16, 2020-08-26, 2020-08-31: the offset of 1000 was subtracted" in note
    store = open_store(config.processed_dir)
    image = store.read_tile("Tile1")
    for name, values in zip(names_of(store, "Tile1"), image, strict=True):
        np.testing.assert_array_equal(values, stored[name])
