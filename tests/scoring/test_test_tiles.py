from pathlib import Path

import numpy as np

from esdseg.config.evaluation import EvalConfig
from esdseg.scoring.evaluate import evaluate
from esdseg.sensors.classes import UNKNOWN_LABEL
from tests.datasets.make_store import make_store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import CHANNELS


def test_labelled_test_tiles_are_scored_and_the_others_left_out(tmp_path: Path) -> None:
    store = make_store(
        tmp_path / "processed",
        split={"Tile1": "train", "Tile2": "val", "Tile3": "test", "Tile4": "test"},
        channels=CHANNELS,
        labels={"Tile4": np.full((16, 16), UNKNOWN_LABEL, np.uint8)},
    )
    write_checkpoint(tmp_path / "runs/tiny/best.ckpt", store)

    result = evaluate(
        EvalConfig(
            checkpoint="tiny",
            checkpoints_dir=tmp_path / "runs",
            processed_dir=tmp_path / "processed",
            predictions_dir=tmp_path / "predictions",
            split="test",
            accelerator="cpu",
            bootstrap_resamples=100,
            simple_baselines=False,
        )
    )

    assert result.card.tiles == ("Tile3",)
    assert result.card.split == "test"
    assert result.card.cells == 256
