"""Folders of made-up scores for tests of comparisons."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from esdseg.metrics.calibration import calibration_scores
from esdseg.metrics.ranking import precision_recall_curves, roc_curves
from esdseg.metrics.resampling import bootstrap_intervals
from esdseg.metrics.scorecard import BootstrapSettings, DataOrigin, Scorecard, Versions
from esdseg.metrics.scores import constant_scores, tile_scores
from esdseg.prediction.tile_prediction import TilePrediction, scored_tiles
from esdseg.scoring.error_analysis import find_worst_cells, summarize_errors
from tests.scoring.predictions import make_prediction


def made_card(predictions: Sequence[TilePrediction], manifest_hash: str = "a" * 64) -> Scorecard:
    """Return the scorecard of predictions, with made-up facts on the run behind them."""
    tiles = scored_tiles(predictions)
    assert tiles.cells is not None
    truth, probabilities = tiles.cells.truth, tiles.cells.all_probabilities
    in_truth = tiles.confusions.sum(axis=(0, 2))
    return Scorecard(
        **dict(tiles.scores()),
        model="unet",
        run="made-up",
        checkpoint="checkpoints/made-up/best.ckpt",
        split="val",
        folds=None,
        ensemble=None,
        tta="none",
        overlap=0,
        window_size=4,
        model_parameters=1234567,
        seconds_per_tile=0.25,
        selection_bias=False,
        last_checkpoint=None,
        tiles=tuple(prediction.tile for prediction in predictions),
        cells=int(tiles.confusions.sum()),
        baselines={
            "majority": constant_scores(in_truth, 1).model_copy(
                update={"most_frequent_in": "the network's 9 training tiles"}
            ),
            "all_class_1": constant_scores(in_truth, 0),
        },
        verdict=None,
        intervals=bootstrap_intervals(tiles, 100, 0),
        bootstrap=BootstrapSettings(unit="tile", level=0.95, resamples=100, seed=0),
        tiles_detail={
            prediction.tile: tile_scores(confusion)
            for prediction, confusion in zip(predictions, tiles.confusions, strict=True)
        },
        roc=roc_curves(truth, probabilities),
        precision_recall=precision_recall_curves(truth, probabilities),
        calibration=calibration_scores(truth, probabilities),
        temperature=None,
        threshold_contest_f1=None,
        errors=summarize_errors(predictions),
        worst_cells=find_worst_cells(predictions),
        training_config={"model": {"name": "unet"}},
        history=(),
        notes=(),
        data=DataOrigin(
            store="data/processed/4x4",
            manifest_hash=manifest_hash,
            trained_on_manifest_hash=manifest_hash,
            subtile_size=4,
            channels=99,
            split_seed=0,
            val_fraction=0.2,
            test_fraction=0.0,
            training_seed=0,
        ),
        versions=Versions(esdseg="0.1.0", torch="2.15.0"),
    )


def made_metrics(predictions: Sequence[TilePrediction], manifest_hash: str = "a" * 64) -> dict[str, Any]:
    """Return what ``metrics.json`` holds of predictions."""
    return made_card(predictions, manifest_hash).model_dump(mode="json")


def write_metrics(folder: Path, metrics: dict[str, Any]) -> Path:
    """Write ``metrics.json`` and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def made_tiles(tiles: int, right_share: float = 0.0, seed: int = 0) -> list[TilePrediction]:
    """Return tiles of one truth, whatever the share of the cells that are set right.

    Args:
        tiles: How many.
        right_share: Share of the cells that get their true class.
        seed: Which cells.
    """
    generator = np.random.default_rng(seed)
    made = []
    for number in range(1, tiles + 1):
        tile = make_prediction(f"Tile{number}", number)
        right = generator.random(tile.truth.shape) < right_share
        certain = np.moveaxis(np.eye(4, dtype=np.float32)[tile.truth], -1, 0)
        made.append(TilePrediction(tile.tile, tile.truth, np.where(right, certain, tile.probabilities)))
    return made
