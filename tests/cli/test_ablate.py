"""What sensors are worth, through the command line."""

import json
from pathlib import Path

from tests.cli.conftest import succeed_here


def test_ablate_says_what_a_sensor_is_worth(workspace: Path) -> None:
    command = ("ablate", "first", "--by", "sensor", "--sensors", "sentinel1", "--retrain")
    shown = succeed_here(workspace, *command)

    for expected in (
        "All 13 channels",
        "Without a sensor",
        "trained again",
        "Note: ",
        "Picture:  predictions/ablate-first/",
    ):
        assert expected in shown.stdout
    assert "1 training, at most about" in shown.stderr
    assert "Training 1 of 1: checkpoints/ablations/first/without-sentinel1" in shown.stderr
    assert "ablate: Tile" in shown.stderr
    content = json.loads((workspace / "predictions/ablate-first/ablation.json").read_text())
    assert [(row["label"], row["how"]) for row in content["rows"]] == [
        ("sentinel1", "inference"),
        ("sentinel1", "retrained"),
        ("sentinel1 alone", "inference"),
    ]
    assert (workspace / "predictions/ablate-first/ablation.png").is_file()
