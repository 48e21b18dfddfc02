"""What mapping an area costs, beside reading its rasters alone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks import floor_preprocessing as floor
from benchmarks.data import BenchmarkData
from benchmarks.measuring import Timing, peak_megabytes, side_by_side
from benchmarks.results import Row, amount, seconds, times_longer
from esdseg.config.evaluation import MapConfig
from esdseg.config.training import ESDConfig
from esdseg.mapping.predict import predict
from esdseg.sample.writing import write_sample_tiles
from esdseg.tiles.discovery import find_tiles
from esdseg.training.fit import fit

STEP = "mapping"
SQUARES = 4
"""Squares of 8 x 8 km in one line, each covered by all rasters of a tile."""

TARGET_SECONDS = 2.0
TARGET_MEGABYTES = 2000.0


def measure(data: BenchmarkData) -> Iterator[Row]:
    """Yield how long scenes take to become a map, all its files included, and the memory that this takes."""
    folder = data.folder / "mapping"
    scenes = folder / "scenes"
    write_sample_tiles(scenes, tiles=SQUARES, seed=0, crs=True, workers=1)
    checkpoint = _train(data, folder / "runs")
    tiles, out = find_tiles(scenes), folder / "map"
    config = MapConfig(checkpoint=str(checkpoint))
    timings = side_by_side(
        {"floor": lambda: floor.read_rasters(tiles), "map": lambda: predict(config, scenes, out)},
        data.repeats,
    )
    what = "map of 64 km2 from scenes, sensor_branches"
    square = Timing(timings["map"].wall / SQUARES, timings["map"].cpu / SQUARES)
    yield seconds(STEP, what, square, TARGET_SECONDS)
    yield times_longer(STEP, what, timings["map"], "floor", timings["floor"], None)
    megabytes = peak_megabytes(predict, config, scenes, out)
    yield amount(STEP, "peak memory", "MB", megabytes, TARGET_MEGABYTES)
    shutil.rmtree(out)


def _train(data: BenchmarkData, runs: Path) -> Path:
    """Train the default network for one epoch; how well it maps does not matter."""
    shutil.rmtree(runs, ignore_errors=True)
    store = data.store_of_samples(2)
    config = ESDConfig.model_validate(
        {
            "data": {"processed_dir": store.path.parent},
            "trainer": {"max_epochs": 1, "monitor": "val_loss"},
            "tracking": {"wandb": "disabled"},
        }
    )
    return fit(config, checkpoints_dir=runs, name="bench").last_checkpoint
