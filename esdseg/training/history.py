"""``metrics.csv``: one row an epoch, kept over resumptions."""

import csv
import io
import math
from pathlib import Path

from esdseg.models.run_history import HISTORY_COLUMNS, read_history
from esdseg.system.files import write_text
from esdseg.training.reports import EpochReport


class History:
    """Writes ``metrics.csv``, the whole of it or none of the change.

    Args:
        path: The file. Rows that are already in it are kept.
        epochs_done: Epochs behind the checkpoint that the run goes on from; rows of later epochs are dropped,
            since these are trained again.
    """

    def __init__(self, path: Path, epochs_done: int) -> None:
        self._path = path
        self.rows = [row for row in read_history(path) if row["epoch"] <= epochs_done]

    def append(self, report: EpochReport) -> None:
        """Add an epoch's row."""
        values = report.values()
        self.rows.append({column: values[column] for column in HISTORY_COLUMNS})
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HISTORY_COLUMNS)
        for row in self.rows:
            writer.writerow([_cell(column, row[column]) for column in HISTORY_COLUMNS])
        write_text(self._path, text.getvalue())


def _cell(column: str, value: float) -> str:
    if column == "epoch":
        return str(int(value))
    return "" if math.isnan(value) else repr(float(value))
