"""Finding the checkpoints of a sweep's best trials."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from esdseg.config.evaluation import check_folder_name
from esdseg.config.training import LOWER_IS_BETTER
from esdseg.errors import InputDataError
from esdseg.models.checkpoint_lookup import BEST_NAME, resolve_checkpoint, resolve_folds

TRIALS_NAME = "trials.csv"
"""The table of its trials in a sweep's folder."""

FINISHED = "finished"
"""What it says of a trial that came to its end."""

_STATE_COLUMN, _METRIC_COLUMN = 1, 2
"""Before the metric's column, which is called by the metric's name, stand the trial's number and state."""


@dataclass(frozen=True)
class SweepTrials:
    """The finished trials of a sweep.

    Attributes:
        folder: The sweep's folder.
        metric: What they are judged by.
        checkpoints: Best checkpoint of each, the best trial first.
    """

    folder: Path
    metric: str
    checkpoints: tuple[Path, ...]

    def best(self, count: int) -> tuple[Path, ...]:
        """Return the checkpoints of the best trials.

        Raises:
            InputDataError: So many have not finished, or the folder of one is gone.
        """
        if count > len(self.checkpoints):
            finished = f"{len(self.checkpoints)} finished trial{'s' if len(self.checkpoints) != 1 else ''}"
            raise InputDataError(
                f"The sweep {self.folder} has {finished}, not {count}; ask for fewer with --ensemble, or go "
                "on with `esdseg sweep`."
            )
        chosen = self.checkpoints[:count]
        for path in chosen:
            if not path.is_file():
                raise InputDataError(
                    f"{path} is missing: it is of one of the {count} best trials of the sweep {self.folder}."
                )
        return chosen


def require_runs(names: Iterable[str], checkpoints_dir: Path) -> None:
    """Refuse names that lead to no checkpoint, folds or sweep, without loading any.

    Raises:
        InputDataError: Nothing is called so.
    """
    for name in names:
        if find_sweep(name, checkpoints_dir) is None and not resolve_folds(name, checkpoints_dir):
            resolve_checkpoint(name, checkpoints_dir)


def find_sweep(text: str, checkpoints_dir: Path) -> SweepTrials | None:
    """Read the trials of the sweep whose folder ``text`` names.

    Args:
        text: A path from the current folder, or below ``checkpoints_dir``, such as ``sweeps/unet``.
        checkpoints_dir: Folder of the runs.

    Returns:
        Its trials; ``None`` where ``text`` names no sweep's folder.

    Raises:
        InputDataError: Its table cannot be read.
    """
    for folder in (Path(text), checkpoints_dir / text):
        table = folder / TRIALS_NAME
        if table.is_file():
            metric, ranked = _read_trials(table)
            return SweepTrials(folder, metric, tuple(folder / run / BEST_NAME for run in ranked))
    return None


def _read_trials(table: Path) -> tuple[str, list[str]]:
    """Return the metric, and the runs of finished trials, best first; of equal ones the earlier."""
    try:
        header, *rows = csv.reader(table.read_text(encoding="utf-8").splitlines())
        metric, run = header[_METRIC_COLUMN], header.index("run")
        scored = [
            (float(row[_METRIC_COLUMN]), row[run])
            for row in rows
            if row[_STATE_COLUMN] == FINISHED and row[_METRIC_COLUMN]
        ]
        for _, name in scored:
            check_folder_name(name)
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise InputDataError(
            f"{table} is no table of a sweep's trials ({error}); `esdseg sweep` with the same file writes it "
            "anew."
        ) from None
    scored.sort(key=lambda one: one[0], reverse=metric not in LOWER_IS_BETTER)
    return metric, [name for _, name in scored]
