"""What the commands cost that a user waits for: help, checking, scores and pictures."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import floor_preprocessing as floor
from benchmarks.data import BenchmarkData
from benchmarks.measuring import side_by_side
from benchmarks.results import Row, seconds, times_faster, times_longer
from esdseg.metrics.resampling import bootstrap_intervals
from esdseg.prediction.tile_prediction import TilePrediction, scored_tiles
from esdseg.scoring.tile_maps import TileToWrite, drawing_processes, write_tile
from esdseg.store.store import Store
from esdseg.system.processes import background
from esdseg.tiles.checking import check_tiles
from esdseg.tiles.discovery import find_tiles

STEP = "commands"
HELPS = (("--help",), ("check", "--help"), ("train", "--help"))
MANY_TILES = 60


def measure(data: BenchmarkData) -> Iterator[Row]:
    """Yield seconds of the help, of checking tiles beside reading them, and of what many tiles need."""
    for words in HELPS:
        help_timing = side_by_side({"help": partial(_run, words)}, data.repeats)["help"]
        yield seconds(STEP, f"esdseg {' '.join(words)}", help_timing, 0.4)
    raw_dir = data.sample_dir
    tiles = find_tiles(raw_dir)
    timings = side_by_side(
        {
            "floor": lambda: floor.read_rasters(tiles),
            "check": lambda: check_tiles(raw_dir, workers=1),
        },
        max(1, data.repeats // 3),
    )
    what = f"check of {len(tiles)} tiles, one process"
    yield times_longer(STEP, what, timings["check"], "floor", timings["floor"], 1.5)
    store = data.store_of_samples(len(tiles))
    predictions = [_invent_prediction(store, number) for number in range(MANY_TILES)]
    folder = data.folder / "pictures"
    workers = drawing_processes(MANY_TILES)
    timings = side_by_side(
        {
            "intervals": lambda: bootstrap_intervals(scored_tiles(predictions), 2000, 0),
            "files": lambda: _write_files(store, predictions, folder, workers),
            "in turn": lambda: _write_files(store, predictions, folder, 1),
        },
        1,
    )
    yield seconds(STEP, f"intervals of {MANY_TILES} tiles", timings["intervals"], 20)
    what = f"maps and pictures of {MANY_TILES} tiles, {workers} processes"
    yield seconds(STEP, what, timings["files"], 20)
    yield times_faster(STEP, what, timings["files"], "one process", timings["in turn"], None)
    shutil.rmtree(folder)


def _run(words: Sequence[str]) -> None:
    subprocess.run([str(Path(sys.executable).with_name("esdseg")), *words], check=True, capture_output=True)


def _invent_prediction(store: Store, number: int) -> TilePrediction:
    """Invent what a network says of a tile; the store's tiles take turns."""
    generator = np.random.default_rng(number)
    probabilities = generator.dirichlet(np.ones(4), (16, 16)).astype(np.float32)
    names = list(store.manifest.tiles)
    tile = names[number % len(names)]
    return TilePrediction(tile, store.labels(tile), np.moveaxis(probabilities, -1, 0))


def _write_files(store: Store, predictions: Sequence[TilePrediction], folder: Path, workers: int) -> None:
    """Write what `evaluate` writes of each tile, satellite pictures read from the store."""
    jobs = [
        TileToWrite(one, store, folder / str(number), ("bench",), tuple(range(len(store.channels))))
        for number, one in enumerate(predictions)
    ]
    with background(workers) as drawing:
        for _ in drawing.map(write_tile, jobs):
            pass
