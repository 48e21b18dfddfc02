from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from esdseg.metrics.calibration import calibration_scores
from esdseg.metrics.scorecard import Calibration
from esdseg.report.calibration_pictures import (
    draw_coverage_risk,
    draw_reliability,
    write_calibration_pictures,
)
from tests.scoring.predictions import make_prediction


@pytest.fixture
def calibration() -> Calibration:
    return calibration_scores(*make_prediction("Tile1", 1).known_cells())


def test_the_diagram_shows_every_bin_that_holds_cells(calibration: Calibration) -> None:
    diagram, counts = draw_reliability(calibration).axes

    drawn = np.array([patch.get_bbox().height for patch in counts.patches if isinstance(patch, Rectangle)])
    assert drawn.tolist() == [entry.cells for entry in calibration.reliability]
    assert drawn.sum() == 256
    points = np.asarray(diagram.lines[-1].get_ydata(), dtype=float)
    assert (~np.isnan(points)).sum() == (drawn > 0).sum()


def test_the_curves_end_at_the_scores_of_all_cells(calibration: Calibration) -> None:
    (axes,) = draw_coverage_risk(calibration).axes

    last = calibration.coverage[-1]
    ends = {line.get_label(): np.ravel(line.get_ydata())[-1] for line in axes.lines}
    assert ends == {
        "Accuracy": last.accuracy,
        "Contest F1 (class 1)": last.contest_f1,
        "Macro F1": last.f1_macro,
    }


def test_both_are_pngs(calibration: Calibration, tmp_path: Path) -> None:
    pictures = write_calibration_pictures(tmp_path, calibration)

    assert {path.name for path in tmp_path.iterdir()} == {"reliability.png", "coverage_risk.png"}
    for path in (pictures.reliability, pictures.coverage_risk):
        with Image.open(path) as picture:
            assert picture.format == "PNG"
