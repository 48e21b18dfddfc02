"""Predicting tiles as the settings say: by one checkpoint or several, with turns, overlap and calibration."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from esdseg.config.evaluation import PredictionConfig
from esdseg.errors import UsageError
from esdseg.prediction.calibration import fit_calibration
from esdseg.prediction.cluster_predictor import predict_on_cluster
from esdseg.prediction.inputs import Inputs
from esdseg.prediction.parts import Scored
from esdseg.prediction.predictor import TilePredictor, predict_here
from esdseg.prediction.stopwatch import Stopwatch
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.classes import GRID_SIZE
from esdseg.system.dask_cluster import connect

ChoosingListener = Callable[[str, int, int], None]
"""Told of each tile that was predicted to choose a calibration: its name, how many are done, and how many
there are."""


@contextmanager
def open_predictor(config: PredictionConfig) -> Iterator[TilePredictor]:
    """Provide what predicts tiles until the block is left: this process, or a Dask cluster.

    Raises:
        MissingResourceError: The cluster is not there, or cannot do it.
        UsageError: The machine lacks the accelerator that the settings name, or the address can never work.
    """
    if config.dask is None:
        yield predict_here(config)
        return
    with connect(config.dask) as cluster:
        yield predict_on_cluster(cluster, config)


def predict_inputs(
    inputs: Inputs, tiles: Sequence[str], predict: TilePredictor, stopwatch: Stopwatch
) -> Iterator[TilePrediction]:
    """Predict tiles, one after the other; those that chose the calibration are not predicted again.

    Args:
        inputs: What predicts, from what, and its calibration.
        tiles: Names of the tiles.
        predict: Where and how it is predicted.
        stopwatch: Sums up the time of the predictions alone.

    Yields:
        The prediction of each tile, in the order of ``tiles``.
    """
    calibration = inputs.calibration
    known = {} if calibration is None else calibration.predictions
    coming = stopwatch.timed(predict(inputs, [tile for tile in tiles if tile not in known]))
    for tile in tiles:
        prediction = known[tile] if tile in known else next(coming)
        yield prediction if calibration is None else calibration.apply(prediction)


def calibrate_inputs(
    inputs: Inputs,
    config: PredictionConfig,
    predict: TilePredictor,
    stopwatch: Stopwatch,
    on_tile: ChoosingListener | None = None,
) -> Inputs:
    """Fit a temperature and a threshold to what checkpoints say together, where that is called for.

    The tiles that choose are those that chose the epoch of every checkpoint and trained none.

    Args:
        inputs: What predicts.
        config: Whether to calibrate, and what tells whether the prediction is a changed one.
        predict: Where and how it is predicted.
        stopwatch: Sums up the time of the predictions alone.
        on_tile: Told of each tile that was predicted for it.

    Raises:
        UsageError: It was asked for, and no tile can choose.
    """
    if not is_calibrated_here(inputs, config):
        return inputs
    tiles = choosing_tiles(inputs)
    if not tiles and config.calibrate:
        raise UsageError(
            f"--calibrate: no tile of {inputs.store.path} with ground truth chose the epoch of "
            f"{_all_of(inputs)} and trained none, so nothing is fit to choose a temperature; leave "
            "--calibrate out."
        )
    predictions = []
    for prediction in stopwatch.timed(predict(inputs, tiles)):
        predictions.append(prediction)
        if on_tile is not None:
            on_tile(prediction.tile, len(predictions), len(tiles))
    return replace(inputs, calibration=fit_calibration(predictions)) if predictions else inputs


def calibrate_parts(
    scored: Scored,
    config: PredictionConfig,
    predict: TilePredictor,
    stopwatch: Stopwatch,
    on_tile: ChoosingListener | None = None,
) -> Scored:
    """Fit what :func:`calibrate_inputs` fits to each part's checkpoints, or where one cannot be, to none."""
    parts = [
        replace(part, inputs=calibrate_inputs(part.inputs, config, predict, stopwatch, on_tile))
        for part in scored.parts
    ]
    if any(part.inputs.calibration is None for part in parts):
        return scored
    return replace(scored, parts=tuple(parts))


def is_calibrated_here(inputs: Inputs, config: PredictionConfig) -> bool:
    """Say whether what the checkpoints say together is to get a temperature of its own."""
    if config.calibrate is not None:
        return config.calibrate
    return all(one.metadata.is_calibrated for one in inputs.checkpoints) and is_changed(inputs, config)


def is_changed(inputs: Inputs, config: PredictionConfig) -> bool:
    """Say whether the prediction is another than that for which each checkpoint was calibrated."""
    return (
        len(inputs.checkpoints) > 1
        or config.tta != "none"
        or any(
            one.window_size != one.metadata.trained_window_size
            or (config.overlap > 0 and one.window_size < GRID_SIZE)
            for one in inputs.checkpoints
        )
    )


def choosing_tiles(inputs: Inputs) -> tuple[str, ...]:
    """Return the labelled tiles that chose the epoch of every checkpoint and trained none."""
    metadata = [one.metadata for one in inputs.checkpoints]
    return tuple(
        tile
        for tile in metadata[0].val_tiles
        if all(tile in one.val_tiles and tile not in one.train_tiles for one in metadata)
        and tile in inputs.store.manifest.tiles
        and inputs.store.class_counts([tile]).any()
    )


def _all_of(inputs: Inputs) -> str:
    paths = [str(one.path) for one in inputs.checkpoints]
    return paths[0] if len(paths) == 1 else f"all {len(paths)} checkpoints"
