"""The charts of the report, from the numbers of ``metrics.json``."""

from esdseg.metrics.score_table import SCORE_TITLES, show
from esdseg.metrics.scorecard import RunHistory, Scorecard
from esdseg.report.charts import Bar, Chart, Line, epoch_axis, fitting_axis, unit_axis
from esdseg.sensors.classes import CLASSES, CONTEST_CLASS

SERIES = 6
"""Styles for lines that stand for no class."""

DIAGONAL = ((0.0, 0.0), (1.0, 1.0))


def training_charts(card: Scorecard) -> tuple[Chart, ...]:
    """Return loss and validation scores over the epochs; none where no run has two epochs.

    Of several folds, each is a line in a chart of the validation loss and in one of the contest's F1.
    """
    runs = [run for run in card.history if len(run.epochs) > 1]
    if not runs:
        return ()
    if len(runs) == 1:
        losses = tuple(
            _history_line(runs[0], name, title, index)
            for index, (name, title) in enumerate((("train_loss", "Training"), ("val_loss", "Validation")))
        )
        scores = tuple(
            _history_line(runs[0], f"val_{name}", SCORE_TITLES[name], index)
            for index, name in enumerate(("contest_f1", "f1_macro", "accuracy"))
        )
    else:
        losses, scores = (
            tuple(
                _history_line(
                    run,
                    name,
                    f"{index + 1}: {f'fold {run.fold}' if run.fold else run.run}",
                    index,
                    str(index + 1),
                )
                for index, run in enumerate(runs)
            )
            for name in ("val_loss", "val_contest_f1")
        )
    across = epoch_axis(int(max(epoch for line in losses for epoch, _ in line.points)))
    height = [value for line in losses for _, value in line.points if value is not None]
    which = "Validation loss" if len(runs) > 1 else "Loss"
    return (
        Chart(which, f"{which} over the epochs", across, fitting_axis("loss", height), losses),
        Chart(
            "Validation scores" if len(runs) == 1 else "Validation contest F1",
            "Scores on the tiles that chose the epoch, over the epochs",
            across,
            unit_axis("score"),
            scores,
        ),
    )


def class_charts(card: Scorecard) -> tuple[Chart, ...]:
    """Return ROC and precision-recall curves, a line a class."""
    roc, precision_recall = [], []
    # The contest's class comes last, so that it lies on top.
    for one in sorted(CLASSES, key=lambda one: one is CONTEST_CLASS):
        style, tag = f"class-{one.code}", str(one.code)
        curve, other = card.roc[one.name], card.precision_recall[one.name]
        if curve is not None:
            points = tuple(zip(curve.false_positive_rate, curve.true_positive_rate, strict=True))
            title = f"{one.code} {one.title}: AUC {show(card.auc.per_class.get(one.name))}"
            roc.append(Line(title, style, points, tag, has_casing=True))
        if other is not None:
            points = tuple(zip(other.recall, other.precision, strict=True))
            title = f"{one.code} {one.title}: average precision {show(other.average_precision)}"
            precision_recall.append(Line(title, style, points, tag, has_casing=True))
    return (
        Chart(
            "ROC",
            "Share of a class' cells that are found over the share of other cells that are taken for it",
            unit_axis("false positive rate"),
            unit_axis("true positive rate"),
            tuple(roc),
            guide=DIAGONAL,
            note="Up and left is better; the dashed line is what guessing gives.",
        ),
        Chart(
            "Precision and recall",
            "Share of right cells among those that are mapped as a class over the share of its cells found",
            unit_axis("recall"),
            unit_axis("precision"),
            tuple(precision_recall),
            note="Up and right is better; guessing gives a level line at the class' share of all cells.",
        ),
    )


def calibration_charts(card: Scorecard) -> tuple[Chart, ...]:
    """Return the reliability diagram and the scores of the most confident cells."""
    bins, coverage = card.calibration.reliability, card.calibration.coverage
    cells = sum(one.cells for one in bins)
    scores = {
        "accuracy": tuple((point.share, point.accuracy) for point in coverage),
        "contest_f1": tuple((point.share, point.contest_f1) for point in coverage),
        "f1_macro": tuple((point.share, point.f1_macro) for point in coverage),
    }
    return (
        Chart(
            "Reliability",
            "Share of right cells by their confidence",
            unit_axis("confidence"),
            unit_axis("share of right cells"),
            (
                Line(
                    "cells of like confidence",
                    "series-1",
                    tuple((one.confidence, one.accuracy) for one in bins if one.confidence is not None),
                    has_dots=True,
                ),
            ),
            guide=DIAGONAL,
            bars=tuple(Bar(one.low, one.high, one.cells / cells) for one in bins if one.cells),
            note="On the dashed line confidence is as good as its word; below it the map is too sure. Bars: "
            "share of all cells.",
        ),
        Chart(
            "Where the map is sure",
            "Scores of the most confident cells alone, over their share of all cells",
            unit_axis("share of the cells, the most confident first"),
            unit_axis("score of these cells"),
            tuple(
                Line(SCORE_TITLES[name], f"series-{index}", points)
                for index, (name, points) in enumerate(scores.items(), start=1)
            ),
            note="A curve that falls to the right means that confidence tells good cells from bad ones.",
        ),
    )


def _history_line(run: RunHistory, name: str, title: str, index: int, tag: str = "") -> Line:
    return Line(title, f"series-{index % SERIES + 1}", run.column(name), tag, has_dots=len(run.epochs) <= 30)
