"""The files in a sweep's folder."""

import os
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


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a reader finds the old or the new one, without loading PyTorch.

    Several commands may write it at the same time.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
