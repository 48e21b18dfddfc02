"""``evaluate``: from a checkpoint and a store to maps, scores and a report."""

import json
from collections.abc import Sequence

import numpy as np
import torch
from pydantic import JsonValue

from esdseg import __version__
from esdseg.baselines.simple_baselines import StepListener
from esdseg.config.evaluation import EvalConfig
from esdseg.config.loading import dump_config
from esdseg.prediction.files import replacing_together, write_text
from esdseg.prediction.parts import Part, Scored, open_scored
from esdseg.prediction.predicting import ChoosingListener, calibrate_parts, open_predictor
from esdseg.prediction.predictor import TilePredictor
from esdseg.prediction.stopwatch import Stopwatch
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.calibration_pictures import write_calibration_pictures
from esdseg.report.confusion_picture import write_confusion_matrix
from esdseg.report.error_picture import write_error_picture
from esdseg.report.page import REPORT_NAME, write_report
from esdseg.scoring.calibrated import describe_calibrated
from esdseg.scoring.mapping import TileListener, drawing_processes, map_tiles, naming_large_windows
from esdseg.scoring.result_folder import CONFIG_NAME, METRICS_NAME
from esdseg.scoring.results import EvaluationResult, RestitchResult, TileMaps
from esdseg.scoring.score_table import confusion_counts
from esdseg.scoring.scores import score_predictions
from esdseg.scoring.selection import Selection, describe_selection
from esdseg.scoring.training_history import describe_training
from esdseg.scoring.verdict import Verdict, judge
from esdseg.scoring.worst_cells import find_worst_cells
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
        verdict = judge(scored, predictions, config, on_simple)
        selection = describe_selection(scored, config, predict)
        metrics = _collect_metrics(scored, predictions, config, stopwatch, verdict, selection)
        write_confusion_matrix(folder, np.array(confusion_counts(metrics)))
        write_calibration_pictures(folder, metrics["calibration"])
        write_error_picture(folder, predictions)
        text = dump_config(config)
        write_text(folder / CONFIG_NAME, text)
        write_report(folder, metrics, text)
        content = json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False)
        write_text(folder / METRICS_NAME, f"{content}\n")
    restitched = RestitchResult(
        scored.checkpoint, output_dir, tuple(one.moved(folder, output_dir) for one in maps)
    )
    return EvaluationResult(metrics, output_dir / METRICS_NAME, output_dir / REPORT_NAME, restitched)


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


def _collect_metrics(
    scored: Scored,
    predictions: Sequence[TilePrediction],
    config: EvalConfig,
    stopwatch: Stopwatch,
    verdict: Verdict,
    selection: Selection,
) -> dict[str, JsonValue]:
    checkpoint, store = scored.parts[0].inputs.checkpoint, scored.store
    scores = score_predictions(
        predictions,
        scored.training_counts(),
        config.bootstrap_resamples,
        config.bootstrap_seed,
    )
    calibrated = describe_calibrated(scored, predictions, scores, config)
    notes, trivial, calibration = scores["notes"], scores["baselines"], scores["calibration"]
    assert isinstance(notes, list)
    assert isinstance(trivial, dict)
    assert isinstance(calibration, dict)
    return {
        "model": scored.model_names,
        "run": scored.run_name,
        "checkpoint": scored.checkpoint,
        "split": scored.split,
        "folds": scored.describe_folds(),
        "ensemble": scored.describe_ensemble(),
        "tta": config.tta,
        "overlap": config.overlap,
        "window_size": checkpoint.window_size,
        "model_parameters": scored.parameters,
        "seconds_per_tile": stopwatch.seconds / stopwatch.items,
        **selection.to_json(),
        **scores,
        "worst_cells": find_worst_cells(predictions),
        **describe_training(scored.parts),
        "baselines": {**trivial, **verdict.baselines},
        **verdict.to_json(),
        "calibration": {**calibration, "uncalibrated": calibrated.uncalibrated},
        **calibrated.to_json(),
        "notes": [
            *verdict.notes,
            *selection.notes,
            *calibrated.notes,
            *notes,
            *(note for part in scored.parts for note in training_notes(part)),
        ],
        "data": {
            "store": str(store.path),
            "manifest_hash": store.manifest_hash,
            "trained_on_manifest_hash": checkpoint.metadata.manifest_hash,
            "subtile_size": store.subtile_size,
            "channels": len(scored.parts[0].inputs.trained().channels),
            "split_seed": store.manifest.split.seed,
            "val_fraction": store.manifest.split.val_fraction,
            "test_fraction": store.manifest.split.test_fraction,
            "training_seed": checkpoint.config.trainer.seed,
        },
        "versions": {"esdseg": __version__, "torch": torch.__version__},
    }


def training_notes(part: Part) -> list[str]:
    """Say where scored tiles may have been trained on: their scores are then too good."""
    inputs = part.inputs
    trained_on = set(inputs.trained().train_tiles)
    shared = [tile for tile in part.tiles if tile in trained_on]
    if not shared:
        return []
    names = ", ".join(shared[:5]) + (f" and {len(shared) - 5} more" if len(shared) > 5 else "")
    if all(one.metadata.manifest_hash == inputs.store.manifest_hash for one in inputs.checkpoints):
        return [f"The network was trained on scored tiles ({names}): these scores say nothing of new tiles."]
    return [
        f"The network was trained on tiles of the same names ({names}), in another version of the store: if "
        "they are the same tiles, these scores are too good."
    ]
