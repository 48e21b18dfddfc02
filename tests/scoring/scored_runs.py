"""Folders of made-up scores for tests of comparisons."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.scores import score_predictions
from tests.scoring.predictions import make_prediction


def made_metrics(
    predictions: Sequence[TilePrediction], manifest_hash: str = "a" * 64
) -> dict[str, JsonValue]:
    """Return what ``metrics.json`` holds of predictions."""
    return {
        "model": "unet",
        "run": "made-up",
        "checkpoint": "checkpoints/made-up/best.ckpt",
        "split": "val",
        "model_parameters": 1234567,
        "seconds_per_tile": 0.25,
        **score_predictions(predictions, np.array([5, 9, 1, 1]), resamples=100, seed=0),
        "data": {"manifest_hash": manifest_hash},
    }


def write_metrics(folder: Path, metrics: dict[str, JsonValue]) -> Path:
    """Write ``metrics.json`` and return its folder."""
    folder.mkdir(parents=True)
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
