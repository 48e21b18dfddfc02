"""What can be taken away from a network's images, and predictions without it."""

import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import zarr

from esdseg.ablation.removal import (
    Removal,
    TileVariants,
    list_removals,
    predict_variants,
    project,
    recomputable_nights,
)
from esdseg.ablation.retraining import can_be_retrained
from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.evaluation import LEVELS, Level
from esdseg.config.models import (
    CellBoostingConfig,
    SegmentationCNNConfig,
    SensorBranchesConfig,
)
from esdseg.config.preprocessing import Recipe, SensorSteps
from esdseg.models.checkpoint import LoadedCheckpoint, load_checkpoint
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.prediction.windows import ONE_PASS, choose_device, predict_tiles
from esdseg.preprocessing.conversions import (
    project_max,
    project_median,
    remove_glitches,
    to_floats,
    to_log_radiance,
)
from esdseg.preprocessing.preprocess import preprocess
from esdseg.sensors.channels import Channel
from esdseg.sensors.sensors import RasterName
from esdseg.store.store import Store, open_store
from esdseg.tiles.discovery import find_tiles
from esdseg.tiles.reading import read_raster
from esdseg.training.fit import fit
from tests.ablation.checkpoints import write_network
from tests.ablation.conftest import ALL_BANDS
from tests.contest import SENSOR_NAMES, SENSORS, channel_from_name, channel_table, get_sensor
from tests.make_tiles import write_tile
from tests.preprocessing.raw_tiles import config_for
from tests.training.conftest import tiny_config

# The made-up nights hold negative numbers, which real ones never do.
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log1p")

CHANNELS = (
    *(f"viirs_{place}_DNB" for place in (1, 2, 3)),
    *("viirs_DNB_max", "viirs_DNB_median", "sentinel1_1_VV"),
    *(f"sentinel2_{place}_{band}" for place in (1, 2) for band in ("B02", "B04")),
)
TINY = tuple(channel_from_name(name) for name in CHANNELS)
NIGHTS = 3

TILES = ("Tile3",)
CPU = choose_device("cpu", "32-true")
SMALLEST = SegmentationCNNConfig(depth=1, embedding_size=2, pool_sizes=(50,))
BRANCHES = SensorBranchesConfig(width=2, context_width=4, context_blocks=1)

RAW_NIGHTS = get_sensor("viirs").dates[:4]
PROJECTIONS = {"DNB_max": project_max, "DNB_median": project_median}


def listed(
    levels: Sequence[Level], nights: int | None = None, names: Sequence[str] = CHANNELS
) -> dict[str, Removal]:
    channels = tuple(channel_from_name(name) for name in names)
    return {one.label: one for one in list_removals(channels, levels, SENSOR_NAMES, nights)}


def gone(removal: Removal) -> set[str]:
    return {channel.name for channel in removal.effect.absent}


def test_sensors_dates_and_bands_are_all_there() -> None:
    assert list(listed(LEVELS)) == [
        *("viirs", "sentinel1", "sentinel2"),
        *("viirs alone", "sentinel1 alone", "sentinel2 alone"),
        *("viirs 1", "viirs 2", "viirs 3", "sentinel1 1", "sentinel2 1", "sentinel2 2"),
        *("viirs DNB", "viirs DNB_max", "viirs DNB_median", "sentinel1 VV", "sentinel2 B02", "sentinel2 B04"),
    ]


def test_a_full_tile_has_a_row_for_everything() -> None:
    channels = channel_table({sensor.name: len(sensor.dates) for sensor in SENSORS})
    removals = list_removals(channels, LEVELS, SENSOR_NAMES, 9)
    counts = {
        kind: sum(one.kind == kind for one in removals) for kind in ("sensor", "alone", "place", "band")
    }
    assert counts == {"sensor": 4, "alone": 4, "place": 9 + 4 + 4 + 3, "band": 3 + 2 + 12 + 11}


def test_each_removal_takes_what_its_name_says() -> None:
    removals = listed(LEVELS)
    assert gone(removals["sentinel2"]) == {name for name in CHANNELS if name.startswith("sentinel2")}
    assert gone(removals["viirs"]) == {name for name in CHANNELS if name.startswith("viirs")}
    assert gone(removals["sentinel1 alone"]) == {name for name in CHANNELS if "sentinel1" not in name}
    assert gone(removals["sentinel2 B02"]) == {"sentinel2_1_B02", "sentinel2_2_B02"}
    assert gone(removals["sentinel2 2"]) == {"sentinel2_2_B02", "sentinel2_2_B04"}
    assert gone(removals["viirs DNB_max"]) == {"viirs_DNB_max"}


def test_a_night_is_taken_out_of_projections_where_that_is_possible() -> None:
    assert listed(LEVELS)["viirs 2"].effect.without_night is None
    removal = listed(LEVELS, NIGHTS)["viirs 2"]
    assert gone(removal) == {"viirs_2_DNB"}
    assert removal.effect.without_night == 2


def test_the_only_night_takes_its_projections_along() -> None:
    names = ("viirs_1_DNB", "viirs_DNB_max", "sentinel1_1_VV")
    removal = listed(("place",), 1, names)["viirs 1"]
    assert gone(removal) == {"viirs_1_DNB", "viirs_DNB_max"}
    assert removal.effect.without_night is None


def test_groups_of_the_same_channels_have_equal_effects() -> None:
    removals = listed(LEVELS)
    alike = {removals[name].effect for name in ("sentinel1", "sentinel1 1", "sentinel1 VV")}
    assert len(alike) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_is_listed_that_leaves_no_channel(level: Level) -> None:
    assert listed((level,), names=("sentinel1_1_VV",)) == {}


def test_a_single_sensor_is_neither_taken_away_nor_left_alone() -> None:
    names = ("sentinel2_1_B02", "sentinel2_2_B02")
    assert list(listed(LEVELS, names=names)) == ["sentinel2 1", "sentinel2 2"]


def test_only_the_chosen_sensors_lose_anything() -> None:
    removals = list_removals(TINY, LEVELS, ("sentinel1",), NIGHTS)
    assert {one.sensor for one in removals} == {"sentinel1"}
    assert [one.kind for one in removals] == ["sensor", "alone", "place", "band"]


@pytest.mark.parametrize("nights", [NIGHTS, None])
def test_no_network_is_trained_without_a_night_that_projections_hold(nights: int | None) -> None:
    possible = {name: can_be_retrained(one, TINY) for name, one in listed(LEVELS, nights).items()}
    assert not any(possible[f"viirs {place}"] for place in (1, 2, 3))
    assert not any(possible[name] for name in possible if name.endswith("alone"))
    assert possible["sentinel2 2"]
    assert not possible["sentinel2 1"], "a network takes the first places"
    assert possible["viirs"]
    assert possible["viirs DNB"]
    plain = tuple(channel for channel in TINY if channel.place)
    last = list_removals(plain, ("place",), ("viirs",), nights)[-1]
    assert can_be_retrained(last, plain)


def nights_at(*places: int) -> list[Channel]:
    return [channel_from_name(f"viirs_{place}_DNB") for place in places]


def changed_store(store: Store, folder: Path, tiles: Collection[str] = TILES) -> Iterator[zarr.Array]:
    """Copy a store, of its tiles only those, and yield the image of each, to be changed."""
    others = shutil.ignore_patterns(*(f"{tile}.zarr" for tile in store.manifest.tiles if tile not in tiles))
    shutil.copytree(store.path, folder / store.path.name, ignore=others)
    for tile in tiles:
        yield zarr.open_group(folder / store.path.name / "Val" / f"{tile}.zarr", mode="r+")["image"]


def without(store: Store, absent: Collection[Channel], folder: Path) -> Store:
    """Return a copy of a store in which channels have no data."""
    for image in changed_store(store, folder):
        for channel in absent:
            image[store.channels.index(channel)] = np.float16(np.nan)
    return Store(folder / store.path.name, store.manifest, store.manifest_hash)


def variants(
    checkpoint: LoadedCheckpoint,
    store: Store,
    removals: tuple[Removal, ...],
    batch_size: int | None = None,
) -> list[TileVariants]:
    return list(predict_variants(checkpoint, store, TILES, removals, CPU, batch_size, ONE_PASS))


def assert_equal(found: list[TilePrediction], expected: list[TilePrediction]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.tile == other.tile
        np.testing.assert_array_equal(one.truth, other.truth)
        np.testing.assert_array_equal(one.probabilities, other.probabilities)


def removals_of(store: Store, nights: int | None = None) -> dict[str, Removal]:
    return {one.label: one for one in list_removals(store.channels, LEVELS, SENSOR_NAMES, nights)}


@pytest.fixture(
    scope="module", params=[SMALLEST, BRANCHES, CellBoostingConfig(max_iter=4)], ids=lambda one: one.name
)
def checkpoint(
    request: pytest.FixtureRequest, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> LoadedCheckpoint:
    folder = tmp_path_factory.mktemp(request.param.name)
    if isinstance(request.param, CellBoostingConfig):
        model = request.param.model_dump()
        config = tiny_config(store.path.parent, model=model, data={"selected_bands": ALL_BANDS})
        run = fit(config, checkpoints_dir=folder, name="trees")
        return open_checkpoint(run.best_checkpoint)
    return load_checkpoint(write_network(folder / "best.ckpt", store, request.param, store.channels))


def test_taking_channels_away_is_predicting_from_a_store_that_lacks_their_data(
    checkpoint: LoadedCheckpoint, store: Store, tmp_path: Path
) -> None:
    removals = removals_of(store)
    chosen = tuple(removals[name] for name in ("sentinel2 B04", "sentinel1"))
    found = variants(checkpoint, store, chosen)

    whole = list(predict_tiles((checkpoint,), store, TILES, CPU))
    assert_equal([one.whole for one in found], whole)
    for position, removal in enumerate(chosen):
        lacking = without(store, removal.effect.absent, tmp_path / removal.label)
        expected = list(predict_tiles((checkpoint,), lacking, TILES, CPU))
        assert_equal([one.reduced[position] for one in found], expected)
        assert any(
            (one.probabilities != other.probabilities).any()
            for one, other in zip(expected, whole, strict=True)
        )


def test_taking_a_night_away_projects_the_others_anew(
    checkpoint: LoadedCheckpoint, store: Store, tmp_path: Path
) -> None:
    removal = removals_of(store, NIGHTS)["viirs 2"]
    assert removal.effect.without_night == 2
    kept = [store.channels.index(channel) for channel in nights_at(1, 3)]
    for image in changed_store(store, tmp_path):
        stored = image[...]
        image[store.channels.index(channel_from_name("viirs_2_DNB"))] = np.float16(np.nan)
        for band in ("DNB_max", "DNB_median"):
            image[store.channels.index(channel_from_name(f"viirs_{band}"))] = project(stored[kept], band)

    found = variants(checkpoint, store, (removal,))

    expected = list(
        predict_tiles((checkpoint,), Store(tmp_path / store.path.name, store.manifest, ""), TILES, CPU)
    )
    assert_equal([one.reduced[0] for one in found], expected)


def test_a_network_that_sees_projections_alone_still_loses_a_night(store: Store, tmp_path: Path) -> None:
    channels = tuple(c for c in store.channels if c.place is None or c.sensor.name == "sentinel1")
    checkpoint = load_checkpoint(write_network(tmp_path / "best.ckpt", store, SMALLEST, channels))
    removals = list_removals(channels, ("place",), SENSOR_NAMES, NIGHTS)
    assert [one.label for one in removals] == ["viirs 1", "viirs 2", "viirs 3", "sentinel1 1"]

    (first,) = variants(checkpoint, store, removals)

    assert not any(one.effect.absent for one in removals[:3])
    for reduced in first.reduced[:3]:
        assert (reduced.probabilities != first.whole.probabilities).any()


def test_variants_do_not_depend_on_the_batch_size(store: Store, tmp_path: Path) -> None:
    path = write_network(tmp_path / "best.ckpt", store, SMALLEST, store.channels)
    removals = (removals_of(store)["sentinel2"],)

    (one,) = variants(load_checkpoint(path), store, removals)
    (other,) = variants(load_checkpoint(path), store, removals, batch_size=5)

    for mine, theirs in ((one.whole, other.whole), (one.reduced[0], other.reduced[0])):
        np.testing.assert_allclose(mine.probabilities, theirs.probabilities, atol=1e-5)


def test_removals_of_equal_effect_are_predicted_once(store: Store, tmp_path: Path) -> None:
    path = write_network(tmp_path / "best.ckpt", store, SMALLEST, store.channels)
    removals = removals_of(store)
    alike = tuple(removals[name] for name in ("sentinel1", "sentinel1 1", "sentinel1 VV"))

    (tile,) = variants(load_checkpoint(path), store, alike)

    assert tile.reduced[0] is tile.reduced[1] is tile.reduced[2]
    assert tile.seconds.shape == (4,)
    assert (tile.seconds > 0).all()


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tile of four nights with bright towns, a glitch and pixels without data."""
    folder = tmp_path_factory.mktemp("raw")
    generator = np.random.default_rng(0)
    numbers = generator.integers(0, 250, (len(RAW_NIGHTS), 800, 800)).astype(np.uint16)
    numbers[generator.random(numbers.shape) < 0.05] = 65535
    numbers[:, :50] = generator.integers(0, 5, (len(RAW_NIGHTS), 50, 800))
    numbers[2, :10, :10] = 222
    values = {RasterName("viirs", night, "DNB"): one for night, one in zip(RAW_NIGHTS, numbers, strict=True)}
    write_tile(folder / "raw/Tile1", dates={"viirs": RAW_NIGHTS}, values=values)
    return folder


@pytest.fixture(scope="module")
def whole(raw_dir: Path) -> Store:
    preprocess(config_for(raw_dir, processed_dir=raw_dir / "whole", val_fraction=0))
    return open_store(raw_dir / "whole")


@pytest.mark.parametrize("gone", [1, 3])
def test_projections_without_a_night_are_those_of_the_other_nights_numbers(
    gone: int, raw_dir: Path, whole: Store
) -> None:
    (tile,) = find_tiles(raw_dir / "raw")
    raw = np.stack([to_floats(read_raster(path), 65535) for path in tile.rasters.values()])
    left = [position for position in range(len(RAW_NIGHTS)) if position != gone]
    numbers = remove_glitches(raw)[left]
    nights = whole.read_tile("Tile1", np.array(left))

    assert recomputable_nights(whole) == len(RAW_NIGHTS)
    for band, reference in PROJECTIONS.items():
        expected = stored(reference(numbers))
        np.testing.assert_array_equal(project(nights, band), expected)
        assert np.isnan(expected).sum() < np.isnan(nights).any(axis=0).sum(), "nights fill each other's gaps"


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
    bands = {"viirs": ("DNB_max", "DNB_median")}
    manifest = whole.manifest.model_copy(update={"bands": bands})

    assert recomputable_nights(Store(whole.path, manifest, "")) is None
