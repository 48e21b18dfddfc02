"""``restitch``: from a checkpoint, or those of all folds, and a store to maps."""

from collections.abc import Iterator, Sequence

import numpy as np

from esdseg.config import EvalConfig, dump_config
from esdseg.evaluation.device import choose_device
from esdseg.evaluation.files import write_text
from esdseg.evaluation.fold_set import FoldSet, open_folds
from esdseg.evaluation.inputs import Inputs, open_inputs, select_tiles
from esdseg.evaluation.mapping import TileListener, map_tiles, write_maps
from esdseg.evaluation.prediction import TilePrediction, predict_tiles
from esdseg.evaluation.results import RestitchResult, TileMaps
from esdseg.evaluation.stopwatch import Stopwatch
from esdseg.models import resolve_folds

RESTITCH_CONFIG_NAME = "restitch.yml"
"""Apart from that of ``evaluate``, since both commands may write to one folder."""


def restitch(config: EvalConfig, on_tile: TileListener | None = None) -> RestitchResult:
    """Predict tiles and write maps and pictures of each: see :func:`esdseg.evaluation.mapping.write_maps`.

    Of a run in folds, each tile is mapped by the fold that held it out, and tiles that no fold held out, such
    as those of ``Test/``, by the mean of all folds' probabilities.

    Args:
        config: What to predict, and where the maps go.
        on_tile: Told of each finished tile.

    Raises:
        InputDataError: The checkpoint, the store or a tile is missing, unreadable or does not fit.
        UsageError: The machine lacks the accelerator that the settings name.
    """
    checkpoints = resolve_folds(config.checkpoint, config.checkpoints_dir)
    if checkpoints:
        folds = open_folds(config, checkpoints)
        checkpoint, inputs = folds.checkpoint, folds.inputs[0]
        tiles = select_tiles(inputs.store, config.tiles)
        mapped = _map_by_folds(folds, tiles, config)
    else:
        inputs = open_inputs(config)
        checkpoint = inputs.checkpoint.path
        tiles = select_tiles(inputs.store, config.tiles)
        mapped = (maps for _, maps in map_tiles(inputs, tiles, config, None, Stopwatch()))
    finished: dict[str, TileMaps] = {}
    for one in mapped:
        finished[one.tile] = one
        if on_tile is not None:
            on_tile(one.tile, len(finished), len(tiles))
    write_text(inputs.output_dir / RESTITCH_CONFIG_NAME, dump_config(config))
    return RestitchResult(checkpoint, inputs.output_dir, tuple(finished[tile] for tile in tiles))


def _map_by_folds(folds: FoldSet, tiles: Sequence[str], config: EvalConfig) -> Iterator[TileMaps]:
    """Map the tiles that each fold held out by it, then the others by the mean of all."""
    others = list(tiles)
    for inputs in folds.inputs:
        held_out = [tile for tile in tiles if tile in inputs.checkpoint.metadata.held_out_tiles]
        others = [tile for tile in others if tile not in held_out]
        if held_out:
            yield from (maps for _, maps in map_tiles(inputs, held_out, config, None, Stopwatch()))
    if others:
        names = tuple(inputs.checkpoint.run_name for inputs in folds.inputs)
        for prediction in predict_by_mean(folds.inputs, others, config):
            yield write_maps(folds.inputs[0], prediction, names)


def predict_by_mean(
    folds: Sequence[Inputs], tiles: Sequence[str], config: EvalConfig
) -> Iterator[TilePrediction]:
    """Predict tiles by the mean of several checkpoints' probabilities, one tile after the other.

    Args:
        folds: The checkpoints and their store.
        tiles: Names of the tiles, at least one.
        config: Where to compute.
    """
    device = choose_device(config.accelerator, config.precision)
    by_fold = [
        predict_tiles(inputs.checkpoint, inputs.store, tiles, device, config.batch_size) for inputs in folds
    ]
    for predictions in zip(*by_fold, strict=True):
        probabilities = np.stack([one.probabilities for one in predictions]).mean(axis=0)
        yield TilePrediction(predictions[0].tile, predictions[0].truth, probabilities)
