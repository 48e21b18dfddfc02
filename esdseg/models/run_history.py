"""``metrics.csv``, which lies beside a run's checkpoints: one row an epoch."""

import csv
from pathlib import Path

from esdseg.config.training import LOGGED_METRICS
from esdseg.errors import InputDataError

HISTORY_NAME = "metrics.csv"
HISTORY_COLUMNS = ("epoch", "learning_rate", *LOGGED_METRICS)

HistoryRow = dict[str, float]


def read_history(path: Path) -> list[HistoryRow]:
    """Read the rows of a ``metrics.csv``; an empty cell is NaN. Without a file there are none.

    Raises:
        InputDataError: The file is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                {column: float(row[column] or "nan") for column in HISTORY_COLUMNS}
                for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        return []
    except (KeyError, TypeError, ValueError) as error:
        raise InputDataError(f"{path} is damaged ({error}); move it away to go on without it.") from None
