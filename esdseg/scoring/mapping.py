"""Mapping tiles: predict each, and write its maps and pictures meanwhile."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from esdseg.config.evaluation import PredictionConfig
from esdseg.models.device import naming_memory_faults
from esdseg.prediction.inputs import Inputs, tell_apart
from esdseg.prediction.predicting import predict_inputs
from esdseg.prediction.predictor import TilePredictor
from esdseg.prediction.stopwatch import Stopwatch
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.map_files import Mapped, write_maps
from esdseg.scoring.results import TileMaps
from esdseg.sensors.classes import GRID_SIZE
from esdseg.system.memory import available_cores
from esdseg.system.processes import Background

TileListener = Callable[[str, int, int], None]
"""Told of each finished tile: its name, how many are done, and how many there are."""

MANY_TILES = 20
"""From here on processes that draw are worth their start, which takes as long as five tiles' files."""


def drawing_processes(tiles: int) -> int:
    """Return how many processes are to write the files of so many tiles: for few of them none but this."""
    return available_cores() if tiles >= MANY_TILES else 1


def map_tiles(
    inputs: Inputs,
    tiles: Sequence[str],
    predict: TilePredictor,
    drawing: Background,
    on_tile: TileListener | None,
    stopwatch: Stopwatch,
) -> Iterator[tuple[TilePrediction, TileMaps]]:
    """Predict each tile and write its maps.

    Args:
        inputs: What predicts, from what, and where the maps go.
        tiles: Names of the tiles, at least one.
        predict: Where and how it is predicted.
        drawing: What writes the files while the next tiles are predicted.
        on_tile: Told of each finished tile.
        stopwatch: Sums up the time of the predictions alone.
    """
    names = tell_apart(inputs.checkpoints)
    predicted = (
        Mapped(inputs.store, inputs.output_dir, prediction, names)
        for prediction in predict_inputs(inputs, tiles, predict, stopwatch)
    )
    for done, (mapped, maps) in enumerate(drawing.map(write_maps, predicted), start=1):
        yield mapped.prediction, maps
        if on_tile is not None:
            on_tile(maps.tile, done, len(tiles))


def naming_large_windows(inputs: Inputs, config: PredictionConfig) -> AbstractContextManager[None]:
    """Say what to try where what is predicted together does not fit into memory (``OutOfMemoryError``)."""
    window = inputs.checkpoint.window_size
    size = config.batch_size or (GRID_SIZE // window) ** 2
    return naming_memory_faults(
        f"batches of {size} windows of {window} x {window} cells and {len(inputs.checkpoint.channels)} "
        "channels",
        f"Try --batch-size {max(1, size // 4)}." if size > 1 else "Use a machine with more memory.",
    )
