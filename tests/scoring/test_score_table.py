from typing import Any

import numpy as np
import pytest

from esdseg.scoring.score_table import build_score_table, show, show_interval
from esdseg.scoring.scores import score_predictions
from esdseg.sensors.classes import CLASSES
from tests.scoring.predictions import make_prediction


def test_rows_hold_the_values_of_metrics_json() -> None:
    tiles = [make_prediction(f"Tile{seed}", seed, classes=3) for seed in range(4)]
    metrics: dict[str, Any] = score_predictions(tiles, np.array([1, 2, 3, 4]), 100, 0)

    table = build_score_table(metrics)

    first, accuracy = table.headline[0], table.headline[-1]
    assert (first.name, first.value) == ("contest_f1", metrics["contest_f1"])
    assert accuracy.interval == tuple(metrics["intervals"]["accuracy"])
    assert accuracy.baselines == {
        name: metrics["baselines"][name]["accuracy"] for name in ("majority", "all_class_1")
    }
    for row, label_class in zip(table.classes, CLASSES, strict=True):
        assert row.support == sum((tile.truth == label_class.index).sum() for tile in tiles)
        assert row.predicted == sum((tile.classes == label_class.index).sum() for tile in tiles)
        assert row.scores["auc"] == metrics["auc"]["per_class"][label_class.name]


def test_printed_tables_have_a_cell_a_column() -> None:
    metrics = score_predictions([make_prediction("Tile1", 0, classes=2)], np.ones(4, dtype=int), 100, 0)

    tables = build_score_table(metrics).tables("a run")

    for table in tables:
        assert all(len(row) == len(table.header) for row in table.rows)
    assert tables[0].rows[0][2] == "–"


@pytest.mark.parametrize(("value", "text"), [(0.12345, "0.123"), (1.0, "1.000"), (None, "–")])
def test_scores_are_shown_with_three_places(value: float | None, text: str) -> None:
    assert show(value) == text


def test_intervals_are_shown_as_two_scores() -> None:
    assert show_interval((0.1, 0.25)) == "0.100 to 0.250"
