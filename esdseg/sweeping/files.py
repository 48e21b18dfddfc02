"""The files in a sweep's folder."""

from pathlib import Path

TRIALS_NAME = "trials.csv"
BEST_NAME = "best.yml"
HISTORY_NAME = "history.png"
IMPORTANCE_NAME = "importance.png"
PARALLEL_NAME = "parallel.png"


def result_paths(folder: Path) -> list[Path]:
    """Return the files for people that are there."""
    names = (TRIALS_NAME, BEST_NAME, HISTORY_NAME, IMPORTANCE_NAME, PARALLEL_NAME)
    return [folder / name for name in names if (folder / name).is_file()]
