from pathlib import Path

import numpy as np
from PIL import Image

from esdseg.models.checkpoint_lookup import HISTORY_COLUMNS
from esdseg.report.training_curves import draw_curves


def test_a_picture_is_drawn_even_of_one_epoch_without_scores(tmp_path: Path) -> None:
    row = dict.fromkeys(HISTORY_COLUMNS, float("nan")) | {"epoch": 1.0, "train_loss": 0.5}
    draw_curves([row], None, "run", tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > picture.height > 300
        assert np.asarray(picture.convert("RGB")).std() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
