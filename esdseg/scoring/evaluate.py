"""``evaluate``: from a checkpoint and a store to maps, scores and a report."""

import numpy as np

from esdseg.baselines.simple_baselines import StepListener
from esdseg.config.evaluation import EvalConfig
from esdseg.config.loading import dump_config
from esdseg.prediction.files import replacing_together, write_text
from esdseg.prediction.parts import Scored, open_scored
from esdseg.prediction.predicting import ChoosingListener, calibrate_parts, open_predictor
from esdseg.prediction.predictor import TilePredictor
from esdseg.prediction.stopwatch import Stopwatch
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.calibration_pictures import write_calibration_pictures
from esdseg.report.confusion_picture import write_confusion_matrix
from esdseg.report.error_picture import write_error_picture
from esdseg.report.page import REPORT_NAME, write_report
from esdseg.scoring.mapping import TileListener, drawing_processes, map_tiles, naming_large_windows
from esdseg.scoring.results import (
    CONFIG_NAME,
    METRICS_NAME,
    EvaluationResult,
    RestitchResult,
    TileMaps,
)
from esdseg.scoring.score import score
from esdseg.scoring.verdict import judge
from esdseg.system.processes import Background, background
from esdseg.tiles.discovery import natural_key


def evaluate(
    config: EvalConfig,
    on_tile: TileListener | None = None,
    on_simple: StepListener | None = None,
    on_choosing: ChoosingListener | None = None,
) -> EvaluationResult:
    """Predict and score the labelled tiles of a split; write scores, report, pictures and maps.

    Of a run in folds, each tile is predicted by the fold that held it out, and all are scored together.
    Several runs predict together, by the mean of their probabilities.

    Args:
        config: What to score, and where the results go.
        on_tile: Told of each finished tile.
        on_simple: Told of each step of fitting the simple models beside, where they are not known yet.
        on_choosing: Told of each tile that was predicted to choose a temperature.

    Raises:
        InputDataError: The checkpoint, the store or a tile is missing, unreadable or does not fit; or the
            split has no labelled tiles; or another process is writing the same results.
        MissingResourceError: There is no space left for the results, or the Dask cluster is not there or
            cannot do it; the results are then as they were.
        OutOfMemoryError: The windows that are predicted together do not fit into memory.
        UsageError: The machine lacks the accelerator that the settings name, or the checkpoints cannot be
            scored on that split or used as the settings say.
    """
    scored = open_scored(config)
    output_dir = scored.output_dir
    # Where the scores are, all that they speak of is there too.
    with (
        open_predictor(config) as predict,
        replacing_together(output_dir, METRICS_NAME) as folder,
        background(drawing_processes(len(scored.tiles))) as drawing,
        naming_large_windows(scored.parts[0].inputs, config),
    ):
        stopwatch = Stopwatch()
        scored = calibrate_parts(scored.writing_to(folder), config, predict, stopwatch, on_choosing)
        predictions, maps = _map_parts(scored, predict, drawing, on_tile, stopwatch)
        judgement = judge(scored, predictions, config, predict, on_simple)
        card = score(predictions, scored, config, judgement, stopwatch.seconds / stopwatch.items)
        write_confusion_matrix(folder, np.array(card.confusion_matrix))
        write_calibration_pictures(folder, card.calibration)
        write_error_picture(folder, predictions, card)
        text = dump_config(config)
        write_text(folder / CONFIG_NAME, text)
        write_report(folder, card, text)
        write_text(folder / METRICS_NAME, card.dump())
    restitched = RestitchResult(
        scored.checkpoint, output_dir, tuple(one.moved(folder, output_dir) for one in maps)
    )
    return EvaluationResult(card, output_dir / METRICS_NAME, output_dir / REPORT_NAME, restitched)


def _map_parts(
    scored: Scored,
    predict: TilePredictor,
    drawing: Background,
    on_tile: TileListener | None,
    stopwatch: Stopwatch,
) -> tuple[tuple[TilePrediction, ...], tuple[TileMaps, ...]]:
    """Predict each part's tiles and write their maps; both in natural order of tiles."""
    mapped: list[tuple[TilePrediction, TileMaps]] = []

    def count_on(tile: str, done: int, total: int) -> None:
        if on_tile is not None:
            on_tile(tile, len(mapped), len(scored.tiles))

    for part in scored.parts:
        for one in map_tiles(part.inputs, part.tiles, predict, drawing, count_on, stopwatch):
            mapped.append(one)
    mapped.sort(key=lambda one: natural_key(one[0].tile))
    predictions, maps = zip(*mapped, strict=True)
    return predictions, maps
