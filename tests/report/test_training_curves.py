"""The curves of a training."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from esdseg.config.training import LossConfig, LossTerms
from esdseg.metrics.scorecard import RunHistory, read_scorecard
from esdseg.models.runs import HISTORY_COLUMNS
from esdseg.report.training_curves import (
    CELL_SIDE_PX,
    describe_loss,
    describe_training,
    draw_histories,
    draw_run,
    draw_side_by_side,
    write_curves,
)
from esdseg.sensors.classes import UNKNOWN_RGB

ROWS = [
    dict.fromkeys(HISTORY_COLUMNS, 1 - 1 / epoch) | {"epoch": float(epoch), "train_loss": 2 / epoch}
    for epoch in (1, 2, 3, 4)
]


@pytest.fixture(scope="module")
def histories(folder: Path) -> tuple[RunHistory, ...]:
    return read_scorecard(folder / "metrics.json").history


def lines_of(figure: Figure, panel: int = 0) -> dict[str, list[float]]:
    lines = figure.axes[panel].lines
    return {str(line.get_label()): list(map(float, line.get_ydata())) for line in lines}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (LossConfig(), "weighted cross-entropy"),
        (LossConfig(class_weights="none"), "cross-entropy"),
        (LossConfig(terms=LossTerms(lovasz=1)), "Lovász loss"),
        (LossConfig(cross_entropy_q=0.5), "weighted generalised cross-entropy (q 0.5)"),
        (LossConfig(terms=LossTerms(focal=1, dice=0.5)), "weighted focal loss + 0.5 Dice loss"),
    ],
)
def test_the_loss_is_called_what_it_is(loss: LossConfig, words: str) -> None:
    assert describe_loss(loss) == words
    assert draw_run(ROWS, None, "run", loss).axes[0].get_ylabel() == words


def test_losses_scores_and_learning_rate_are_those_of_the_history() -> None:
    figure = draw_run(ROWS, 3, "run", LossConfig())

    assert lines_of(figure)["training"] == [2, 1, 2 / 3, 0.5]
    assert lines_of(figure, 1)["Contest F1"] == [row["val_contest_f1"] for row in ROWS]
    assert lines_of(figure, 2)["learning rate"] == [row["learning_rate"] for row in ROWS]
    for panel in range(3):
        assert "best epoch: 3" in lines_of(figure, panel)


def test_the_legends_cover_no_curve() -> None:
    figure = draw_run(ROWS, 3, "run", LossConfig())
    figure.draw_without_rendering()

    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        assert not legend.get_window_extent().overlaps(axes.get_window_extent())
        assert figure.bbox.containsx(legend.get_window_extent().x0)
        assert figure.bbox.containsy(legend.get_window_extent().y0)


def test_scores_are_told_apart_without_their_colours() -> None:
    lines = draw_run(ROWS, None, "run", LossConfig()).axes[1].lines

    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == len(lines) == 5


def test_the_curves_name_run_and_tiles() -> None:
    title = describe_training("first", 9, 3)
    assert title == "first: trained on 9 tiles, validated on 3"
    assert describe_training("first", 1, 1) == "first: trained on 1 tile, validated on 1"
    assert draw_run(ROWS, 3, title, LossConfig()).get_suptitle() == title


def test_a_model_that_is_fitted_in_one_go_has_neither_a_learning_rate_nor_a_best_epoch() -> None:
    figure = draw_run([{**ROWS[0], "learning_rate": float("nan")}], 1, "run", LossConfig())
    figure.draw_without_rendering()

    assert [axes.get_title() for axes in figure.axes] == ["Loss", "Validation scores"]
    for axes in figure.axes:
        assert "best epoch: 1" not in lines_of(figure)
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_a_picture_is_drawn_even_of_one_epoch_without_scores(tmp_path: Path) -> None:
    row = dict.fromkeys(HISTORY_COLUMNS, float("nan")) | {"epoch": 1.0, "train_loss": 0.5}

    write_curves(tmp_path / "curves.png", [row], None, "a $ run", LossConfig())

    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height > 300
        assert np.asarray(picture.convert("RGB")).std() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_the_loss_of_one_epoch_has_room_above_it() -> None:
    row = dict.fromkeys(HISTORY_COLUMNS, float("nan")) | {"epoch": 1.0, "train_loss": 1.40, "val_loss": 1.43}
    low, high = draw_run([row], None, "a run", LossConfig()).axes[0].get_ylim()
    assert low == 0
    assert high > 1.03 * 1.43


def test_each_fold_is_a_line_over_the_epochs(histories: tuple[RunHistory, ...]) -> None:
    figures = draw_histories(histories, "crossed")

    assert figures["loss"].get_suptitle() == "crossed: 2 runs, each on its own tiles"
    assert lines_of(figures["loss"]) == {
        "fold 1/2": [2.5, 1.25, 2.5 / 3],
        "fold 2/2": [2.5, 1.25, 2.5 / 3],
    }
    assert lines_of(figures["scores"])["fold 2/2"] == [0, 0.5, 1 - 1 / 3]


def test_one_run_shows_training_beside_validation(histories: tuple[RunHistory, ...]) -> None:
    counted = histories[0].model_copy(update={"train_tiles": 9, "val_tiles": 3})
    figures = draw_histories([counted], "crossed")
    assert figures["loss"].get_suptitle() == "crossed: trained on 9 tiles, validated on 3"
    assert draw_histories(histories[:1], "crossed")["loss"].get_suptitle() == "crossed", "in older files"

    assert list(lines_of(figures["loss"])) == ["training", "validation"]
    assert next(iter(lines_of(figures["scores"]))) == "Contest F1"


def test_a_model_fitted_in_one_go_has_no_curve_over_epochs(histories: tuple[RunHistory, ...]) -> None:
    fitted = histories[0].model_copy(update={"epochs": histories[0].epochs[:1]})

    assert draw_histories([fitted], "crossed") == {}
    assert draw_histories([], "crossed") == {}


def test_a_tile_is_shown_beside_its_truth_with_sharp_cells() -> None:
    truth = np.zeros((16, 16), np.uint8)
    truth[0, 0] = 255

    picture = draw_side_by_side(truth, np.full((16, 16), 2))

    assert picture.shape[0] == 16 * CELL_SIDE_PX
    assert tuple(picture[CELL_SIDE_PX - 1, CELL_SIDE_PX - 1]) == UNKNOWN_RGB
    assert picture[CELL_SIDE_PX, CELL_SIDE_PX].tolist() == [255, 0, 0]
    assert picture[0, -1].tolist() == [255, 255, 0]
