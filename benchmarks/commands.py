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
from benchmarks.results import Row, seconds, times_longer
from esdseg.evaluation.bootstrap import bootstrap_intervals
from esdseg.evaluation.satellite import SatellitePicture
from esdseg.evaluation.tile_picture import write_comparison
from esdseg.evaluation.tile_prediction import TilePrediction
from esdseg.metrics import confusion_matrix
from esdseg.tiles import check_tiles, find_tiles

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
    predictions = [_invent_prediction(number) for number in range(MANY_TILES)]
    cells = [prediction.known_cells() for prediction in predictions]
    confusions = np.stack([confusion_matrix(one.truth, one.classes) for one in predictions])
    truths, probabilities = zip(*cells, strict=True)
    folder = data.folder / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    timings = side_by_side(
        {
            "bootstrap": lambda: bootstrap_intervals(confusions, truths, probabilities, 2000, 0),
            "pictures": lambda: _draw(predictions, folder),
        },
        1,
    )
    yield seconds(STEP, f"intervals of {MANY_TILES} tiles", timings["bootstrap"], 20)
    yield seconds(STEP, f"pictures of {MANY_TILES} tiles", timings["pictures"], 20)
    shutil.rmtree(folder)


def _run(words: Sequence[str]) -> None:
    subprocess.run([str(Path(sys.executable).with_name("esdseg")), *words], check=True, capture_output=True)


def _invent_prediction(number: int) -> TilePrediction:
    generator = np.random.default_rng(number)
    probabilities = generator.dirichlet(np.ones(4), (16, 16)).astype(np.float32)
    truth = generator.integers(0, 4, (16, 16)).astype(np.uint8)
    return TilePrediction(f"Tile{number}", truth, np.moveaxis(probabilities, -1, 0))


def _draw(predictions: Sequence[TilePrediction], folder: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (800, 800, 3)).astype(np.uint8)
    for prediction in predictions:
        write_comparison(folder, prediction, SatellitePicture(rgb, "invented"), None)
