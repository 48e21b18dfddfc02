"""Mapping tiles: predict each and write its maps and pictures."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from esdseg.config import EvalConfig
from esdseg.evaluation.files import make_folder
from esdseg.evaluation.inputs import Inputs
from esdseg.evaluation.maps import write_prediction, write_probabilities, write_truth
from esdseg.evaluation.predicting import predict_inputs
from esdseg.evaluation.results import TileMaps
from esdseg.evaluation.satellite import read_satellite_picture
from esdseg.evaluation.satellite_file import write_satellite
from esdseg.evaluation.scores import score_tile
from esdseg.evaluation.stopwatch import Stopwatch
from esdseg.evaluation.tile_picture import write_comparison
from esdseg.evaluation.tile_prediction import TilePrediction
from esdseg.grid import GRID_SIZE
from esdseg.metrics import confusion_matrix
from esdseg.models.out_of_memory import naming_memory_faults

TileListener = Callable[[str, int, int], None]
"""Told of each finished tile: its name, how many are done, and how many there are."""


def map_tiles(
    inputs: Inputs,
    tiles: Sequence[str],
    config: EvalConfig,
    on_tile: TileListener | None,
    stopwatch: Stopwatch,
) -> Iterator[tuple[TilePrediction, TileMaps]]:
    """Predict each tile and write its maps.

    Args:
        inputs: What predicts, from what, and where the maps go.
        tiles: Names of the tiles, at least one.
        config: Where to compute.
        on_tile: Told of each finished tile.
        stopwatch: Sums up the time of the predictions alone.
    """
    runs = tuple(one.run_name for one in inputs.checkpoints)
    for done, prediction in enumerate(predict_inputs(inputs, tiles, config, stopwatch), start=1):
        yield prediction, write_maps(inputs, prediction, runs)
        if on_tile is not None:
            on_tile(prediction.tile, done, len(tiles))


def naming_large_windows(inputs: Inputs, config: EvalConfig) -> AbstractContextManager[None]:
    """Say what to try where what is predicted together does not fit into memory (``OutOfMemoryError``)."""
    window = inputs.checkpoint.window_size
    size = config.batch_size or (GRID_SIZE // window) ** 2
    return naming_memory_faults(
        f"batches of {size} windows of {window} x {window} cells and {len(inputs.checkpoint.channels)} "
        "channels",
        f"Try --batch-size {max(1, size // 4)}." if size > 1 else "Use a machine with more memory.",
    )


def write_maps(inputs: Inputs, prediction: TilePrediction, mapped_by: tuple[str, ...]) -> TileMaps:
    """Write a tile's maps and pictures: see :class:`~esdseg.evaluation.results.TileMaps`.

    Beside them lie ``satellite.jpg`` and, of labelled tiles, ``truth.tif``.

    Args:
        inputs: The store, and the folder of all tiles' folders.
        prediction: The tile's.
        mapped_by: The runs that it comes from.
    """
    tile = prediction.tile
    folder = make_folder(inputs.output_dir / tile)
    georeference = inputs.store.manifest.tiles[tile].georeference
    scores = None
    if prediction.is_labelled:
        scores = score_tile(confusion_matrix(prediction.truth, prediction.classes))
    satellite = read_satellite_picture(inputs.store, tile)
    write_satellite(folder, satellite)
    if prediction.is_labelled:
        write_truth(folder, prediction, georeference)
    return TileMaps(
        tile,
        write_prediction(folder, prediction, georeference),
        write_probabilities(folder, prediction, georeference),
        write_comparison(folder, prediction, satellite, scores),
        mapped_by,
    )
