"""The same input gives the same values in whatever process, folder, language and time zone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.faults.processes import REPOSITORY, THREADS
from tests.preprocessing.raw_tiles import write_tiles

TILES = ("Tile1", "Tile2", "Tile10", "Tile11")
PLACES = (
    {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "0"},
    {"LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "4711"},
)


def describe(folder: Path, workers: int, place: dict[str, str], current: Path) -> dict[str, Any]:
    """Return what a fresh process makes of the folder."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.fresh", folder, str(workers)],
        cwd=current,
        env={**os.environ, **THREADS, **place, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def test_two_processes_in_different_places_agree_to_the_last_bit(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "other/deeper/şecond"
    write_tiles(first / "raw", TILES)
    # Files of the other folder are made in the opposite order; copies keep their times.
    for name in reversed(TILES):
        (second / "raw" / name).mkdir(parents=True)
        for path in sorted((first / "raw" / name).iterdir(), reverse=True):
            shutil.copy2(path, second / "raw" / name)
    one = describe(first, 1, PLACES[0], REPOSITORY)
    other = describe(second, 2, PLACES[1], tmp_path)
    assert sorted(one["split"].values()) == ["train", "train", "val", "val"]
    for what in one:
        assert one[what] == other[what], what
