import shutil
from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import zarr

from esdseg.ablation.night_projections import night_channels, project
from esdseg.ablation.predicting import TileVariants, predict_variants
from esdseg.ablation.removals import Removal, list_removals
from esdseg.config.evaluation import LEVELS
from esdseg.config.models import (
    CellBoostingConfig,
    SegmentationCNNConfig,
    SensorBranchesConfig,
)
from esdseg.models.checkpoint import LoadedCheckpoint, load_checkpoint
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.prediction.windows import ONE_PASS, choose_device, predict_tiles
from esdseg.sensors.channels import Channel, channel_from_name
from esdseg.sensors.sensors import SENSOR_NAMES
from esdseg.store.store import Store
from esdseg.training.fit import fit
from tests.ablation.checkpoints import write_network
from tests.training.conftest import tiny_config

# The made-up nights hold negative numbers, which real ones never do.
pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log1p")

TILES = ("Tile3",)
CPU = choose_device("cpu", "32-true")
SMALLEST = SegmentationCNNConfig(depth=1, embedding_size=2, pool_sizes=(50,))
BRANCHES = SensorBranchesConfig(width=2, context_width=4, context_blocks=1)


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


def removals_of(store: Store, nights: tuple[date, ...] | None = None) -> dict[str, Removal]:
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
        run = fit(tiny_config(store.path.parent, model=model), checkpoints_dir=folder, name="trees")
        return load_checkpoint(run.best_checkpoint)
    return load_checkpoint(write_network(folder / "best.ckpt", store, request.param, store.channels))


def test_taking_channels_away_is_predicting_from_a_store_that_lacks_their_data(
    checkpoint: LoadedCheckpoint, store: Store, tmp_path: Path
) -> None:
    removals = removals_of(store)
    chosen = tuple(removals[name] for name in ("sentinel2 B04", "sentinel1 alone"))
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
    nights = tuple(c.acquired for c in store.channels if c.sensor == "viirs" and c.acquired)
    removal = removals_of(store, nights)["viirs 2020-08-11"]
    assert removal.effect.nights == (nights[0], nights[2])
    kept = [store.channels.index(channel) for channel in night_channels(removal.effect.nights)]
    for image in changed_store(store, tmp_path):
        stored = image[...]
        image[store.channels.index(channel_from_name("viirs_2020-08-11_DNB"))] = np.float16(np.nan)
        for band in ("DNB_max", "DNB_median"):
            image[store.channels.index(channel_from_name(f"viirs_{band}"))] = project(stored[kept], band)

    found = variants(checkpoint, store, (removal,))

    expected = list(
        predict_tiles((checkpoint,), Store(tmp_path / store.path.name, store.manifest, ""), TILES, CPU)
    )
    assert_equal([one.reduced[0] for one in found], expected)


def test_a_network_that_sees_projections_alone_still_loses_a_night(store: Store, tmp_path: Path) -> None:
    channels = tuple(c for c in store.channels if c.acquired is None or c.sensor == "sentinel1")
    nights = tuple(c.acquired for c in store.channels if c.sensor == "viirs" and c.acquired)
    checkpoint = load_checkpoint(write_network(tmp_path / "best.ckpt", store, SMALLEST, channels))
    removals = list_removals(channels, ("date",), SENSOR_NAMES, nights)
    assert [one.label for one in removals] == [f"viirs {night}" for night in nights] + [
        "sentinel1 2020-08-04"
    ]

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
    alike = tuple(removals[name] for name in ("sentinel1", "sentinel1 2020-08-04", "sentinel1 VV"))

    (tile,) = variants(load_checkpoint(path), store, alike)

    assert tile.reduced[0] is tile.reduced[1] is tile.reduced[2]
    assert tile.seconds.shape == (4,)
    assert (tile.seconds > 0).all()
