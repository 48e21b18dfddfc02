from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from esdseg.report.metrics import ReportMetrics
from esdseg.scoring.results import EvaluationResult
from tests.report.made_folder import read_json

Damage = Callable[[dict[str, Any]], object]


def test_what_evaluate_writes_is_understood(evaluated: EvaluationResult) -> None:
    metrics = ReportMetrics.model_validate(evaluated.metrics)

    assert metrics.tiles == ("Tile3", "Tile10")
    assert metrics.folds is None
    assert metrics.history == ()
    assert metrics.training_config["model"] == evaluated.metrics["training_config"]["model"]  # type: ignore[index,call-overload]
    assert len(metrics.worst_cells) == 12


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda metrics: metrics.pop("roc"), "roc"),
        (lambda metrics: metrics["roc"].pop("empty_lit"), "its classes are not"),
        (lambda metrics: metrics["baselines"].pop("majority"), "majority is missing"),
        (lambda metrics: metrics.pop("cell_boosting_differences"), "stands without"),
        (lambda metrics: metrics["cell_boosting_differences"].pop("f1_macro"), "its scores are not"),
        (lambda metrics: metrics["tiles"].append("../elsewhere"), "names no folder"),
        (lambda metrics: metrics["errors"]["ranking"].pop(), "does not name the same tiles"),
        (lambda metrics: metrics["tiles_detail"].pop("Tile2"), "tiles_detail does not name the same tiles"),
        (lambda metrics: metrics["errors"]["best"].append("Tile9"), "'Tile9' is none of its tiles"),
        (lambda metrics: metrics["worst_cells"][0].update(truth="village"), "'village' is no class"),
        (lambda metrics: metrics["worst_cells"][0].update(row=16), "less than 16"),
        (
            lambda metrics: metrics["errors"]["class_1"]["missed"]["by_distance"].pop("1"),
            "its distances are not",
        ),
    ],
)
def test_what_the_page_could_not_show_is_refused(folder: Path, damage: Damage, message: str) -> None:
    metrics = read_json(folder)
    damage(metrics)

    with pytest.raises(ValidationError, match=message):
        ReportMetrics.model_validate(metrics)
