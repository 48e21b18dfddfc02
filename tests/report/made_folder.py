"""Folders of predictions as ``evaluate`` leaves them, made up without a network."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from esdseg.prediction.maps import write_prediction, write_probabilities, write_truth
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.report.satellite import SatellitePicture, write_satellite
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.scoring.scored_runs import made_metrics, made_tiles

TILES = ("Tile1", "Tile2", "Tile3", "Tile4")
TILE_WITHOUT_CLASS_1 = "Tile3"
TILE_WITHOUT_PICTURE = "Tile4"

UNCALIBRATED = {
    "expected_calibration_error": 0.2344,
    "brier": 0.9876,
    "brier_contest": 0.3456,
    "mean_confidence": 0.8765,
}


def made_folder(folder: Path) -> Path:
    """Write scores, settings, maps and pictures of four tiles; return their folder.

    Tile1 is the worst and has an unknown cell; Tile3 has no cell of class 1, in truth or prediction; Tile4
    has no satellite picture and is the best.
    """
    tiles = [made_tiles(4, share)[number] for number, share in enumerate((0.0, 0.3, 0.3, 0.6))]
    tiles[0].truth[0, 0] = UNKNOWN_LABEL
    tiles[2] = _without_class_1(tiles[2])
    generator = np.random.default_rng(0)
    for tile in tiles:
        place = folder / tile.tile
        place.mkdir(parents=True)
        write_prediction(place, tile, None)
        write_probabilities(place, tile, None)
        write_truth(place, tile, None)
        if tile.tile != TILE_WITHOUT_PICTURE:
            blocks = generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            picture = blocks.repeat(50, axis=0).repeat(50, axis=1)
            write_satellite(place, SatellitePicture(picture, "Sentinel-2, 2020-08-16, true colour"))
    metrics: dict[str, Any] = {**made_metrics(tiles), **_made_keys()}
    metrics["calibration"] |= {"uncalibrated": UNCALIBRATED}
    write_json(folder, metrics)
    (folder / "config.yml").write_text("checkpoint: made-up\nbootstrap_resamples: 100\n")
    return folder


def read_json(folder: Path) -> dict[str, Any]:
    """Read ``metrics.json``."""
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def write_json(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json``."""
    (folder / "metrics.json").write_text(json.dumps(metrics, allow_nan=False))


def _without_class_1(tile: TilePrediction) -> TilePrediction:
    truth = np.where(tile.truth == 0, 1, tile.truth).astype(np.uint8)
    probabilities = tile.probabilities.copy()
    probabilities[1] += probabilities[0]
    probabilities[0] = 0
    return TilePrediction(tile.tile, truth, probabilities)


def _made_keys() -> dict[str, Any]:
    """Return what only ``evaluate`` knows: two folds with their histories, settings and verdict."""
    epochs = [
        {"epoch": epoch, "train_loss": 2 / epoch, "val_loss": 2.5 / epoch, "val_contest_f1": 1 - 1 / epoch}
        for epoch in (1, 2, 3)
    ]
    return {
        "split": "fold",
        "selection_bias": False,
        "last_checkpoint": None,
        "folds": [
            {"fold": "1/2", "seed": 0, "checkpoint": "checkpoints/a/best.ckpt", "tiles": ["Tile1", "Tile4"]}
            | {"temperature": 1.25, "contest_threshold": 0.375},
            {"fold": "2/2", "seed": 0, "checkpoint": "checkpoints/b/best.ckpt", "tiles": ["Tile2", "Tile3"]}
            | {"temperature": 2.5, "contest_threshold": 0.625},
        ],
        "temperature": {"value": None, "chosen_on": "inner tiles of the fold", "selection_bias": False},
        "threshold_contest_f1": {
            "threshold": None,
            "contest_f1": 0.4321,
            "interval": [0.2109, 0.6543],
            "chosen_on": "inner tiles of the fold",
            "selection_bias": False,
        },
        "verdict": {
            "answer": "beats",
            "against": "cell_boosting",
            "checkpoint": "checkpoints/a/last.ckpt",
            "differences": {
                "contest_f1": {"value": 0.1234, "interval": [0.0345, 0.2456], "win_probability": 0.99},
                "f1_macro": {"value": 0.0567, "interval": [0.0123, 0.0987], "win_probability": 0.9},
            },
        },
        "history": [
            {"run": name, "fold": fold, "epochs": epochs} for name, fold in (("a", "1/2"), ("b", "2/2"))
        ],
        "training_config": {"model": {"name": "unet", "embedding_size": 64}},
    }
