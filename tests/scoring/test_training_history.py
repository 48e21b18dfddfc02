import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from esdseg.config.evaluation import EvalConfig
from esdseg.errors import InputDataError
from esdseg.models.checkpoint_lookup import HISTORY_COLUMNS
from esdseg.prediction.parts import open_scored
from esdseg.scoring.training_history import describe_training


@pytest.fixture
def moved(eval_config: EvalConfig, tmp_path: Path) -> EvalConfig:
    """Settings that score a copy of the run, which has no ``metrics.csv``."""
    shutil.copytree(eval_config.checkpoints_dir / "tiny-unet", tmp_path / "moved")
    return eval_config.model_copy(update={"checkpoint": "moved", "checkpoints_dir": tmp_path})


def test_the_epochs_beside_the_checkpoint_are_told(moved: EvalConfig) -> None:
    values = dict.fromkeys(HISTORY_COLUMNS, 0.25) | {"val_f1_empty_lit": math.nan}
    rows = [",".join(HISTORY_COLUMNS)]
    for epoch in (1, 2):
        cells = ["" if math.isnan(value) else str(value) for value in ({**values, "epoch": epoch}).values()]
        rows.append(",".join(cells))
    (moved.checkpoints_dir / "moved/metrics.csv").write_text("\n".join(rows) + "\n")

    told: dict[str, Any] = describe_training(open_scored(moved).parts)

    (run,) = told["history"]
    assert (run["run"], run["fold"]) == ("tiny-unet", None)
    assert [row["epoch"] for row in run["epochs"]] == [1, 2]
    assert run["epochs"][1]["val_loss"] == 0.25
    assert run["epochs"][1]["val_f1_empty_lit"] is None
    assert told["training_config"]["model"]["name"] == "unet"


def test_a_checkpoint_alone_has_no_epochs(moved: EvalConfig) -> None:
    assert describe_training(open_scored(moved).parts)["history"] == []


def test_a_damaged_history_is_named(moved: EvalConfig) -> None:
    (moved.checkpoints_dir / "moved/metrics.csv").write_text("epoch\nx\n")

    with pytest.raises(InputDataError, match=r"metrics\.csv is damaged"):
        describe_training(open_scored(moved).parts)
