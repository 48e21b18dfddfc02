import json
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.scoring.scores import headline_values, number_at, score_predictions
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.scoring.predictions import make_prediction

TRAINING_COUNTS = np.array([5, 9, 1, 1])


def scored(tiles: list[TilePrediction], training_counts: Any = TRAINING_COUNTS) -> dict[str, Any]:
    return score_predictions(tiles, training_counts, resamples=100, seed=0)


def test_scores_are_pooled_over_tiles_and_never_averaged() -> None:
    tiles = [make_prediction("Tile1", 1, classes=2), make_prediction("Tile2", 2, classes=4)]

    metrics = scored(tiles)

    truth = np.concatenate([tile.truth.ravel() for tile in tiles])
    prediction = np.concatenate([tile.classes.ravel() for tile in tiles])
    probabilities = np.concatenate([tile.known_cells()[1] for tile in tiles])
    assert metrics["f1"]["macro"] == pytest.approx(f1_score(truth, prediction, average="macro"))
    assert metrics["auc"]["macro"] == pytest.approx(
        roc_auc_score(np.eye(4)[truth], probabilities, average="macro")
    )
    assert np.sum(metrics["confusion_matrix"]) == metrics["cells"] == 512
    details = metrics["tiles_detail"]
    summed = sum(np.array(details[tile]["confusion_matrix"]) for tile in metrics["tiles"])
    assert np.array(summed).tolist() == metrics["confusion_matrix"]


def test_absent_classes_are_null_and_said_and_the_json_holds_no_nan() -> None:
    metrics = scored([make_prediction("Tile1", 1, classes=2)])

    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["f1"]["per_class"]["empty_lit"] is None
    assert metrics["auc"]["per_class"]["empty_lit"] is None
    assert any(
        note.startswith("empty_lit is neither in the truth nor predicted") for note in metrics["notes"]
    )
    assert any("One tile says nothing" in note for note in metrics["notes"])


def test_few_tiles_are_said_and_many_are_not() -> None:
    few = scored([make_prediction(f"Tile{seed}", seed) for seed in range(3)])
    many = scored([make_prediction(f"Tile{seed}", seed) for seed in range(8)])

    assert "3 tiles alone" in few["notes"][-1]
    assert many["notes"] == []
    assert all(low <= high for low, high in many["intervals"].values())


def test_unknown_cells_do_not_count() -> None:
    whole = make_prediction("Tile1", 1)
    truth = whole.truth.copy()
    truth[whole.truth != whole.classes] = UNKNOWN_LABEL

    metrics = scored([TilePrediction("Tile1", truth, whole.probabilities)])

    assert metrics["accuracy"] == 1.0
    assert metrics["cells"] == (whole.truth == whole.classes).sum()


def test_without_training_tiles_the_scored_cells_name_the_majority() -> None:
    metrics = scored([make_prediction("Tile1", 1, classes=1)], np.zeros(4, dtype=int))

    assert metrics["baselines"]["majority"]["accuracy"] == 1.0
    assert "no training tiles" in metrics["notes"][-1]


def test_headline_values_are_found_in_metrics_and_in_a_baseline() -> None:
    metrics = scored([make_prediction("Tile1", 1)])

    assert headline_values(metrics)["f1_macro"] == metrics["f1"]["macro"]
    assert headline_values(metrics["baselines"]["majority"])["auc_macro"] == 0.5
    assert number_at(metrics, "f1", "nothing") is None
