"""The pictures of a sweep show few trials as few, and no label where lines run."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
import optuna
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from PIL import Image
from pydantic import JsonValue

from esdseg.report.sweep_pictures import (
    LABEL_SHARE,
    NOT_USED,
    PictureTrial,
    draw_history,
    draw_importance,
    draw_parallel,
    write_sweep_pictures,
)

TITLE = "tiny, on 3 validation tiles"
METRIC = "val_f1_macro"


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    mpl.use("agg")
    with mpl.rc_context():
        yield
    pyplot.close("all")


def settings_of(number: int) -> dict[str, JsonValue]:
    """Return a rate, and the settings of a network or of trees in turn."""
    own: dict[str, JsonValue] = {"model.name": "unet", "model.depth": number}
    if number % 2:
        own = {"model.name": "cell_boosting"}
    return {"optimizer.learning_rate": 10.0 ** -(1 + number / 3), **own}


def make_sweep(finished: int, pruned: int = 0) -> tuple[optuna.Study, list[PictureTrial]]:
    """Return a study and its trials, the last of them pruned; the later, the better."""
    study = optuna.create_study(study_name="tiny", direction="maximize")
    trials = []
    for number in range(finished + pruned):
        settings = settings_of(number)
        state = "finished" if number < finished else "pruned"
        value = 0.5 + 0.01 * number
        study.add_trial(
            optuna.create_trial(
                state=TrialState.COMPLETE if state == "finished" else TrialState.PRUNED,
                value=value,
                params={
                    "optimizer.learning_rate": settings["optimizer.learning_rate"],
                    "model.name": settings["model.name"],
                },
                distributions={
                    "optimizer.learning_rate": FloatDistribution(1e-9, 1, log=True),
                    "model.name": CategoricalDistribution(["unet", "cell_boosting"]),
                },
            )
        )
        trials.append(PictureTrial(number, state, value, settings))
    return study, trials


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("finished", "pruned", "legend", "counted"),
    [
        (1, 0, ["trained to the end"], "1 trial"),
        (3, 0, ["best so far", "trained to the end"], "3 trials"),
        (3, 2, ["best so far", "trained to the end", "stopped early: best of fewer epochs"], "5 trials"),
    ],
)
def test_the_history_explains_what_is_there(
    finished: int, pruned: int, legend: list[str], counted: str
) -> None:
    study, trials = make_sweep(finished, pruned)

    figure = draw_history(study, trials, TITLE, METRIC)

    assert legend_of(figure) == legend
    (axes,) = figure.axes
    assert axes.get_title() == f"{TITLE}: {counted}"
    figure.draw_without_rendering()
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


@pytest.mark.filterwarnings("ignore")
def test_below_ten_finished_trials_nothing_is_said_to_matter() -> None:
    few = draw_importance(make_sweep(9, pruned=5)[0], TITLE, METRIC)
    (text,) = few.axes[0].texts
    assert not few.axes[0].patches
    assert text.get_text().endswith("there are 9 finished trials.")
    assert few.get_suptitle() == f"{TITLE}: what mattered"

    many = draw_importance(make_sweep(10)[0], TITLE, METRIC)
    assert len(many.axes[0].patches) == 2
    assert many.axes[0].get_xlim()[0] == 0


@pytest.mark.parametrize("finished", [1, 2, 12])
def test_no_line_of_a_trial_runs_through_a_label(finished: int) -> None:
    study, trials = make_sweep(finished)

    figure = draw_parallel(study, trials, TITLE, METRIC, ["optimizer.learning_rate"])

    assert len(figure.axes) == 1, "there is no colour bar"
    (axes,) = figure.axes
    figure.draw_without_rendering()
    lines = [line for line in axes.lines if np.ptp(np.asarray(line.get_xdata(), float)) > 0]
    columns = len(axes.get_xticks())
    assert len(lines) == finished * (columns - 1)
    for text in axes.texts:
        box = text.get_window_extent().transformed(axes.transData.inverted())
        assert round(text.get_position()[0]) - LABEL_SHARE / 2 < box.x0
        assert box.x1 < round(text.get_position()[0]) + LABEL_SHARE / 2
        for line in lines:
            assert not line.get_path().intersects_bbox(box)


def test_values_lie_on_their_scales_and_the_best_is_darkest() -> None:
    study, trials = make_sweep(12)

    (axes,) = draw_parallel(study, trials, TITLE, METRIC, ["optimizer.learning_rate"]).axes

    names = [label.get_text().replace("\n", "") for label in axes.get_xticklabels()]
    assert names == ["model.depth", "model.name", "optimizer.learning_rate", METRIC]
    lines = [line for line in axes.lines if np.ptp(np.asarray(line.get_xdata(), float)) > 0]
    last = [line for line in lines if min(np.asarray(line.get_xdata(), float)) > 2]
    ends = [np.asarray(line.get_ydata(), float).tolist() for line in last]
    assert np.array(ends)[:, 1] == pytest.approx(np.linspace(0, 1, 12)), "the metric"
    assert np.array(ends)[:, 0] == pytest.approx(np.linspace(1, 0, 12)), "the rate's logarithm"
    brightness = [float(np.mean(to_rgb(line.get_color()))) for line in last]
    assert brightness == sorted(brightness, reverse=True)
    written = [text.get_text() for text in axes.texts]
    assert [text for text in written if text in (NOT_USED, "cell_boosting", "unet")] == [
        NOT_USED, "cell_boosting", "unet",
    ]  # fmt: skip
    assert {"0.001", "0.54"} <= set(written)


def test_a_setting_that_is_null_is_told_from_one_that_is_not_used() -> None:
    study, trials = make_sweep(3)
    settings: list[dict[str, JsonValue]] = [{"trainer.patience": None}, {"trainer.patience": 5}, {}]
    trials = [
        PictureTrial(trial.number, trial.state, trial.value, own)
        for trial, own in zip(trials, settings, strict=True)
    ]

    (axes,) = draw_parallel(study, trials, TITLE, METRIC, []).axes

    in_column = [text for text in axes.texts if text.get_position()[0] == 0]
    assert [text.get_text() for text in in_column] == [NOT_USED, "5", "null"]


def test_all_pictures_are_written_over_pyplots_own_settings(tmp_path: Path) -> None:
    study, trials = make_sweep(2, pruned=1)
    before = dict(mpl.rcParams)
    paths = [tmp_path / f"{name}.png" for name in ("history", "importance", "parallel")]

    write_sweep_pictures(study, trials, TITLE, METRIC, [], paths)

    assert dict(mpl.rcParams) == before
    for path in paths:
        with Image.open(path) as picture:
            assert picture.convert("RGB").getpixel((3, 3)) == (255, 255, 255)
    shown = draw_parallel(study, trials, TITLE, METRIC, []).get_suptitle()
    assert "2 finished trials; 1 not shown, which were stopped early or failed" in shown
