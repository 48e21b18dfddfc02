import pytest

from esdseg.metrics.score_table import build_score_table, show, show_interval, show_win_probability
from esdseg.sensors.classes import CLASSES
from tests.scoring.predictions import make_prediction
from tests.scoring.scored_runs import made_card


def test_rows_hold_the_values_of_metrics_json() -> None:
    tiles = [make_prediction(f"Tile{seed}", seed, classes=3) for seed in range(4)]
    card = made_card(tiles)

    table = build_score_table(card)

    first, accuracy = table.headline[0], table.headline[-1]
    assert (first.name, first.value) == ("contest_f1", card.contest_f1)
    assert accuracy.interval == card.intervals["accuracy"]
    assert accuracy.baselines == {name: card.baselines[name].accuracy for name in ("majority", "all_class_1")}
    for row, label_class in zip(table.classes, CLASSES, strict=True):
        assert row.support == sum((tile.truth == label_class.index).sum() for tile in tiles)
        assert row.predicted == sum((tile.classes == label_class.index).sum() for tile in tiles)
        assert row.scores["auc"] == card.auc.per_class[label_class.name]


def test_printed_tables_have_a_cell_a_column() -> None:
    card = made_card([make_prediction("Tile1", 0, classes=2)])

    tables = build_score_table(card).tables("a run")

    for table in tables:
        assert all(len(row) == len(table.header) for row in table.rows)
    assert tables[0].rows[0][2] == "–"


@pytest.mark.parametrize(("value", "text"), [(0.12345, "0.123"), (1.0, "1.000"), (None, "–")])
def test_scores_are_shown_with_three_places(value: float | None, text: str) -> None:
    assert show(value) == text


def test_intervals_are_shown_as_two_scores() -> None:
    assert show_interval((0.1, 0.25)) == "0.100 to 0.250"


@pytest.mark.parametrize(
    ("share", "text"),
    [(2001 / 2002, "> 0.99"), (1 / 2002, "< 0.01"), (0.5, "0.50"), (0.99, "0.99"), (None, "–")],
)
def test_a_share_of_wins_is_never_shown_as_0_or_1(share: float | None, text: str) -> None:
    assert show_win_probability(share) == text
