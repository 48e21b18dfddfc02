from pathlib import Path

import pytest

from esdseg.metrics.scorecard import Scorecard
from esdseg.report.curves import calibration_charts, class_charts, training_charts
from tests.report.made_folder import read_json


@pytest.fixture(scope="module")
def metrics(folder: Path) -> Scorecard:
    return Scorecard.model_validate(read_json(folder))


def test_each_fold_is_a_line_over_the_epochs(metrics: Scorecard) -> None:
    loss, score = training_charts(metrics)

    assert (
        [line.title for line in loss.lines]
        == [line.title for line in score.lines]
        == ["1: fold 1/2", "2: fold 2/2"]
    )
    assert loss.lines[0].points == ((1.0, 2.5), (2.0, 1.25), (3.0, 2.5 / 3))
    assert score.lines[1].points == ((1.0, 0.0), (2.0, 0.5), (3.0, 1 - 1 / 3))


def test_one_run_shows_training_beside_validation(metrics: Scorecard) -> None:
    alone = metrics.model_copy(update={"history": metrics.history[:1]})

    loss, score = training_charts(alone)

    assert [line.title for line in loss.lines] == ["Training", "Validation"]
    assert score.lines[0].title == "Contest F1 (class 1)"


def test_a_model_fitted_in_one_go_has_no_curve_over_epochs(metrics: Scorecard) -> None:
    fitted = metrics.history[0].model_copy(update={"epochs": metrics.history[0].epochs[:1]})

    assert training_charts(metrics.model_copy(update={"history": (fitted,)})) == ()
    assert training_charts(metrics.model_copy(update={"history": ()})) == ()


def test_class_1_lies_on_top_and_undefined_curves_are_left_out(metrics: Scorecard) -> None:
    roc, precision_recall = class_charts(metrics)
    assert [line.style for line in roc.lines] == ["class-2", "class-3", "class-4", "class-1"]
    assert [line.tag for line in precision_recall.lines] == ["2", "3", "4", "1"]

    without = metrics.model_copy(update={"roc": {**metrics.roc, "empty_lit": None}})
    assert "class-4" not in [line.style for line in class_charts(without)[0].lines]


def test_calibration_charts_show_the_numbers_of_the_metrics(metrics: Scorecard) -> None:
    diagram, coverage = calibration_charts(metrics)

    filled = [one for one in metrics.calibration.reliability if one.cells]
    assert diagram.lines[0].points == tuple((one.confidence, one.accuracy) for one in filled)
    assert sum(bar.height for bar in diagram.bars) == pytest.approx(1)
    assert [line.points[-1] for line in coverage.lines[:2]] == [
        (1, metrics.accuracy),
        (1, metrics.contest_f1),
    ]
