"""The pictures of a scorecard show its numbers."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation
from PIL import Image

from esdseg.metrics.scorecard import PrecisionRecallCurve, Scorecard, read_scorecard
from esdseg.report.score_pictures import (
    FEW_CELLS,
    draw_confusion_matrix,
    draw_coverage,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_scores,
    write_score_pictures,
)
from esdseg.sensors.classes import CLASSES

COUNTS = np.array([[30, 10, 0, 0], [5, 1200, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])


@pytest.fixture(scope="module")
def card(folder: Path) -> Scorecard:
    return read_scorecard(folder / "metrics.json")


def without(card: Scorecard, name: str, label_class: str) -> Scorecard:
    return card.model_copy(update={name: {**getattr(card, name), label_class: None}})


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def curves_of(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    return {
        str(line.get_label()): (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))  # type: ignore[arg-type]
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }


def test_every_count_stands_in_its_cell_with_its_share_of_the_true_class() -> None:
    axes = draw_confusion_matrix(COUNTS, "whose").axes[0]

    written: dict[tuple[int, int], list[str]] = {}
    for text in axes.texts:
        column, row = text.get_position()
        written.setdefault((round(row), round(column)), []).append(text.get_text())
    assert written[0, 0] == ["30", "75 %"]
    assert written[0, 1] == ["10", "25 %"]
    assert written[1, 1] == ["1,200", "100 %"]
    assert written[2, 3] == ["1", "25 %"]
    assert written[3, 0] == ["0", "–"]
    labels = [label.get_text().splitlines() for label in axes.get_yticklabels()]
    assert labels[0] == ["1 Settlement", "without electricity", "40 cells"]
    assert labels[1][-1] == "1,205 cells"


def test_a_cell_is_darker_where_its_share_is_larger() -> None:
    axes = draw_confusion_matrix(COUNTS, "whose").axes[0]

    tints = {
        (round(patch.get_y() + 0.5), round(patch.get_x() + 0.5)): patch.get_alpha()
        for patch in axes.patches
        if isinstance(patch, Rectangle) and patch.get_width() == 1
    }
    assert sorted(tints) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]
    assert (tints[1, 1] or 0) > (tints[0, 0] or 0) > (tints[0, 1] or 0)


def test_class_curves_are_those_of_the_scorecard_and_class_1_lies_on_top(card: Scorecard) -> None:
    for figure, curves, names in (
        (draw_roc(card), card.roc, ("false_positive_rate", "true_positive_rate")),
        (draw_precision_recall(card), card.precision_recall, ("recall", "precision")),
    ):
        drawn = curves_of(figure.axes[0])
        assert list(drawn) == [*legend_of(figure)[1:], legend_of(figure)[0]], "the last lies on top"
        for label_class, title in zip(CLASSES, legend_of(figure), strict=True):
            assert title.startswith(f"{label_class.title_with_code}: ")
            curve = curves[label_class.name]
            assert drawn[title] == tuple(list(getattr(curve, name)) for name in names)
    assert f"AUC {card.auc.per_class['settlement_dark']:.3f}" in legend_of(draw_roc(card))[0]


def test_a_curve_carries_its_class_code_so_that_it_is_told_without_colour(card: Scorecard) -> None:
    for figure in (draw_roc(card), draw_precision_recall(card)):
        assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1", "2", "3", "4"]


def test_precision_of_a_constant_network_is_drawn_level_as_the_report_says(card: Scorecard) -> None:
    constant = PrecisionRecallCurve(recall=(0.0, 1.0), precision=(1.0, 0.25), average_precision=0.25)
    curves = dict.fromkeys(card.precision_recall, None) | {"settlement_dark": constant}
    axes = draw_precision_recall(card.model_copy(update={"precision_recall": curves})).axes[0]
    (line,), (code,) = axes.lines, axes.texts
    assert line.get_drawstyle() == "steps-pre"
    assert isinstance(code, Annotation)
    assert code.xy[0] == 0 or code.xy[1] == 0.25, "its code lies on the steps"


def test_undefined_curves_are_left_out(card: Scorecard) -> None:
    lit = "settlement_lit"
    assert len(legend_of(draw_roc(without(card, "roc", lit)))) == 3
    assert len(legend_of(draw_precision_recall(without(card, "precision_recall", lit)))) == 3
    empty = card.model_copy(update={"roc": dict.fromkeys(card.roc)})
    (text,) = draw_roc(empty).axes[0].texts
    assert text.get_text().startswith("No curve")


def test_the_reliability_diagram_shows_every_bin_that_holds_cells(card: Scorecard) -> None:
    diagram, counts = draw_reliability(card).axes

    bins = card.calibration.reliability
    heights = [patch.get_bbox().height for patch in counts.patches if isinstance(patch, Rectangle)]
    assert heights == [one_bin.cells for one_bin in bins]
    assert sum(heights) == card.cells
    written = [text.get_text() for text in counts.texts]
    assert written == [f"{one_bin.cells:,}" if one_bin.cells else "" for one_bin in bins]
    drawn = curves_of(diagram)
    few, many = drawn[f"fewer than {FEW_CELLS} cells"], drawn["cells of a bin"]
    for (across, up), shown in (
        (few, [one_bin for one_bin in bins if 0 < one_bin.cells < FEW_CELLS]),
        (many, [one_bin for one_bin in bins if one_bin.cells >= FEW_CELLS]),
    ):
        assert shown
        assert across == [one_bin.confidence for one_bin in shown]
        assert up == [one_bin.accuracy for one_bin in shown]


def test_coverage_ends_at_the_scores_of_all_cells(card: Scorecard) -> None:
    figure = draw_coverage(card)

    ends = {title: up[-1] for title, (_, up) in curves_of(figure.axes[0]).items()}
    assert ends == {
        "Accuracy": card.accuracy,
        "Contest F1": card.contest_f1,
        "Macro F1": card.f1.macro,
    }


def test_every_picture_is_written_as_png(card: Scorecard, tmp_path: Path) -> None:
    write_score_pictures(tmp_path, draw_scores(card))

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "confusion_matrix.png",
        "coverage_risk.png",
        "precision_recall.png",
        "reliability.png",
        "roc.png",
    ]
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            assert picture.format == "PNG"


def test_every_picture_names_run_split_and_number_of_tiles(card: Scorecard) -> None:
    for figure in draw_scores(card).values():
        assert figure.get_suptitle() == "made-up on 4 tiles held out by the folds"
        assert all(axes.get_xlabel() or axes.get_shared_x_axes() for axes in figure.axes)
        assert all(axes.get_ylabel() for axes in figure.axes)
    long = card.model_copy(update={"run": "run" * 50, "split": "val", "tiles": card.tiles[:1]})
    for figure in draw_scores(long).values():
        figure.draw_without_rendering()
        (name,) = [text for text in figure.texts if text.get_text().endswith("on 1 tile of the val split")]
        assert name.get_window_extent().width < figure.bbox.width


def test_no_legend_covers_an_axes(card: Scorecard) -> None:
    for figure in draw_scores(card).values():
        figure.draw_without_rendering()
        for legend in figure.legends:
            box = legend.get_window_extent()
            assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
