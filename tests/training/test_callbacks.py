from dataclasses import replace
from pathlib import Path

import numpy as np

from esdseg.config.training import LOGGED_METRICS, ESDConfig
from esdseg.models.runs import HISTORY_COLUMNS, read_history
from esdseg.training.callbacks import EpochReport, History
from esdseg.training.run_folder import RunFolder


def report(epoch: int, value: float = 0.5) -> EpochReport:
    metrics = {name: value + 0.1 for name in LOGGED_METRICS if name != "train_loss"}
    metrics["val_f1_empty_lit"] = float("nan")
    metrics["val_something_else"] = 1.0
    return EpochReport(epoch, 9, 1e-3, value, metrics, 1.0, False)


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    history = History(RunFolder(tmp_path, ESDConfig()))
    history.append(report(1, 1 / 3))
    history.append(report(2))
    path = tmp_path / "metrics.csv"
    rows = read_history(path)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[0]["train_loss"] == 1 / 3
    assert np.isnan(rows[0]["val_f1_empty_lit"])
    assert path.read_text().splitlines()[0] == ",".join(HISTORY_COLUMNS)
    assert list(tmp_path.iterdir()) == [path]


def test_an_epoch_that_is_trained_again_replaces_its_row(tmp_path: Path) -> None:
    history = History(RunFolder(tmp_path, ESDConfig()))
    for epoch, value in ((1, 0.1), (2, 0.2), (1, 0.3)):
        history.append(report(epoch, value))
    rows = read_history(tmp_path / "metrics.csv")
    assert [(row["epoch"], row["train_loss"]) for row in rows] == [(1, 0.3)]


def test_an_epochs_line_says_what_counts_and_fits_a_terminal() -> None:
    line = report(3).line()
    assert line == "Epoch 3/9  loss 0.500 val 0.600  macro F1 0.600  contest F1 0.600 1 s"
    longest = replace(report(100), max_epochs=100, seconds=999.0, is_best=True, monitor="val_loss").line()
    assert len(longest) <= 80
