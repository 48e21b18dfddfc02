from pathlib import Path

import pytest

from esdseg.errors import InputDataError
from esdseg.models.checkpoint_lookup import read_history


def test_a_damaged_history_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,learning_rate\n1,x\n")
    with pytest.raises(InputDataError, match=r"metrics\.csv is damaged"):
        read_history(path)


def test_a_run_without_a_history_has_no_rows(tmp_path: Path) -> None:
    assert read_history(tmp_path / "metrics.csv") == []
