"""Seeing that two folders hold the same results."""

import csv
import json
import sqlite3
from pathlib import Path
from typing import Any

import torch

CLOCKS = {"seconds_per_tile", "evaluated_at"}
"""Keys of results that say when it was, and how long it took."""


def files_of(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, hidden ones too, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assert_same_store(store: Path, other: Path) -> None:
    """Compare two stores byte by byte; nothing else may lie there."""
    assert_same_files(files_of(store), files_of(other))


def assert_same_files(found: dict[str, bytes], wanted: dict[str, bytes]) -> None:
    """Compare files without printing them."""
    assert found.keys() == wanted.keys()
    differing = [name for name in wanted if found[name] != wanted[name]]
    assert not differing


def assert_same_run(run: Path, other: Path) -> None:
    """Compare two training runs: history and settings byte by byte, checkpoints number by number."""
    assert {path.name for path in run.iterdir()} == {path.name for path in other.iterdir()}
    for name in ("metrics.csv", "config.yml"):
        assert (run / name).read_bytes() == (other / name).read_bytes(), name
    for name in ("best.ckpt", "last.ckpt"):
        found, wanted = (
            torch.load(folder / name, map_location="cpu", weights_only=True) for folder in (run, other)
        )
        assert_same_values(found, wanted, name)


def assert_same_values(found: Any, wanted: Any, place: str) -> None:
    """Compare nested values to the last bit."""
    assert type(found) is type(wanted), place
    if isinstance(wanted, torch.Tensor):
        assert found.dtype == wanted.dtype, place
        assert torch.equal(torch.nan_to_num(found), torch.nan_to_num(wanted)), place
    elif isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), place
        for key in wanted:
            assert_same_values(found[key], wanted[key], f"{place}.{key}")
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted), place
        for position, pair in enumerate(zip(found, wanted, strict=True)):
            assert_same_values(*pair, f"{place}[{position}]")
    else:
        assert found == wanted or (found != found and wanted != wanted), place


def assert_same_evaluation(folder: Path, other: Path) -> None:
    """Compare two folders of predictions: scores apart from times, maps and pictures byte by byte."""
    found, wanted = files_of(folder), files_of(other)
    for files in (found, wanted):
        # The report shows how long a tile took.
        files.pop("report.html")
    scores = [json.loads(files.pop("metrics.json")) for files in (found, wanted)]
    for one in scores:
        for key in CLOCKS:
            one.pop(key)
    assert scores[0] == scores[1]
    assert_same_files(found, wanted)


def sweep_trials(folder: Path) -> list[dict[str, str]]:
    """Return a sweep's trials without what names a place or a time; numbers of trials have gaps."""
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: row[key] for key in row if key not in ("trial", "seconds", "run", "host")} for row in rows]


def trial_folders(folder: Path) -> list[str]:
    """Return the names of the trials' folders, in the order of the trials."""
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return [row["run"] for row in csv.DictReader(file)]


def assert_same_sweep(folder: Path, other: Path) -> None:
    """Compare two sweeps: their trials, their best settings, and what lies in their folders."""
    assert sweep_trials(folder) == sweep_trials(other)
    settings = [(one / "best.yml").read_text().partition("\n")[2] for one in (folder, other)]
    assert settings[0] == settings[1]
    kept = [
        {path.name for path in one.iterdir() if not path.name.startswith("trial-")} for one in (folder, other)
    ]
    assert kept[0] == kept[1]
    # A trial whose process was killed is run again under another number.
    runs = [[one / name for name in trial_folders(one)] for one in (folder, other)]
    assert len(runs[0]) == len(runs[1]) == len(list(folder.glob("trial-*")))
    for found, wanted in zip(*runs, strict=True):
        assert (found / "metrics.csv").read_bytes() == (wanted / "metrics.csv").read_bytes()
    with sqlite3.connect(folder / "study.db") as connection:
        running = connection.execute("SELECT COUNT(*) FROM trials WHERE state IN ('RUNNING', 'WAITING')")
        assert running.fetchone() == (0,)
