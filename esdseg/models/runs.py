"""What ``--checkpoint`` names: a run, the folds of one, a sweep's best trials; and the files beside it."""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from esdseg.config.evaluation import check_folder_name
from esdseg.config.section import NetworkSection
from esdseg.config.training import (
    ABLATIONS_FOLDER,
    LOGGED_METRICS,
    LOWER_IS_BETTER,
    SWEEPS_FOLDER,
    ESDConfig,
)
from esdseg.errors import InputDataError, UsageError
from esdseg.models.bundle import Bundle, bundle_of, read_bundle

BEST_NAME = "best.ckpt"
LAST_NAME = "last.ckpt"
CHECKPOINT_NAMES = (BEST_NAME, LAST_NAME)
"""The checkpoints of a run, the one to prefer first."""

SHOWN_RUNS = 10
"""Runs listed in a message."""


def resolve_checkpoint(text: str, checkpoints_dir: Path) -> Path:
    """Find the checkpoint that ``text`` names.

    Args:
        text: A path from the current folder; else ``RUN``, its best checkpoint, or its last where there is
            no best; ``RUN/last.ckpt``; or a bare ``best.ckpt`` or ``last.ckpt``, the newest run's. A bundle
            of ``esdseg export`` stands for the checkpoint in it.
        checkpoints_dir: Folder of the runs.

    Returns:
        An existing file, or the path of a checkpoint in a bundle.

    Raises:
        InputDataError: Nothing is called so; the message lists the runs there are. Or the bundle is damaged,
            or holds several checkpoints.
    """
    bundle = find_bundle(text, checkpoints_dir)
    if bundle is not None:
        return bundle.only_checkpoint()
    for start in (Path(text), checkpoints_dir / text):
        found = _checkpoint_at(start)
        if found is not None:
            return found
    if text in CHECKPOINT_NAMES:
        # Names break ties, since some file systems keep whole seconds.
        candidates = checkpoints_dir.glob(f"*/{text}")
        newest = max(candidates, key=lambda path: (path.stat().st_mtime_ns, str(path)), default=None)
        if newest is not None:
            return newest
    raise InputDataError(
        f"There is no checkpoint '{text}', neither from here nor in {_describe(checkpoints_dir)}"
    )


def fold_run_name(run: str, number: int, count: int) -> str:
    """Return the name of the run of one fold, such as ``first-fold2of5``."""
    return f"{run}-fold{number}of{count}"


def folds_name(run: str, count: int) -> str:
    """Return the text that names the runs of all folds together, such as ``first-fold*of5``."""
    return f"{run}-fold*of{count}"


def resolve_folds(text: str, checkpoints_dir: Path) -> tuple[Path, ...]:
    """Find the best checkpoints of a run that was trained in folds.

    Args:
        text: ``RUN`` or, where it was trained in several numbers of folds, ``RUN-fold*of5``; a path from the
            current folder, or a name in ``checkpoints_dir``.
        checkpoints_dir: Folder of the runs.

    Returns:
        The checkpoint of each fold in order; none where ``text`` names a plain run, or nothing.

    Raises:
        InputDataError: A fold is missing, or there are several numbers of folds to choose from.
    """
    wanted = re.fullmatch(r"(.+?)(?:-fold\*of(\d+))?", text)
    for start in (Path(text), checkpoints_dir / text):
        if wanted is None or _checkpoint_at(start) is not None:
            return ()
        found = _folds_at(start.parent, Path(wanted[1]).name)
        if wanted[2] is not None:
            found = {count: folds for count, folds in found.items() if count == int(wanted[2])}
        if found:
            return _whole_set(start.parent / Path(wanted[1]).name, found)
    return ()


def _folds_at(folder: Path, run: str) -> dict[int, dict[int, Path]]:
    """Return the best checkpoints of a run's folds by the number of folds and the fold's own."""
    found: dict[int, dict[int, Path]] = {}
    for path in folder.glob(f"*/{BEST_NAME}"):
        match = re.fullmatch(rf"{re.escape(run)}-fold(\d+)of(\d+)", path.parent.name)
        if match is not None:
            found.setdefault(int(match[2]), {})[int(match[1])] = path
    return found


def _whole_set(run: Path, found: Mapping[int, Mapping[int, Path]]) -> tuple[Path, ...]:
    if len(found) > 1:
        names = " or ".join(f"'{folds_name(str(run), count)}'" for count in sorted(found))
        raise InputDataError(f"{run} was trained in several numbers of folds; choose {names}.")
    count, folds = next(iter(found.items()))
    missing = [number for number in range(1, count + 1) if number not in folds]
    if missing:
        command = f"esdseg train --folds {count} --name {run.name} --resume"
        if run.parent != Path("checkpoints"):
            command += f" --checkpoints-dir {run.parent}"
        raise InputDataError(
            f"{run} lacks {len(missing)} of its {count} folds ({', '.join(map(str, missing))}); train them "
            f"with `{command}`, or name one run, such as {folds[min(folds)].parent.name}."
        )
    return tuple(folds[number] for number in range(1, count + 1))


def check_name(name: str) -> None:
    """Refuse a name that cannot be a run's folder.

    Raises:
        UsageError: The name has other characters, or is kept for other folders.
    """
    if not re.fullmatch(r"\w[\w.+=-]*", name) or name in (SWEEPS_FOLDER, ABLATIONS_FOLDER):
        raise UsageError(
            f"--name {name}: a run's name is made of letters, digits, '-', '_', '.', '+' and '=', starts "
            f"with a letter or digit, and is not '{SWEEPS_FOLDER}' or '{ABLATIONS_FOLDER}'."
        )


def check_new(path: Path, advice: str = "go on with it by --resume, or choose another --name") -> None:
    """Refuse to start a run in a folder that holds one.

    Args:
        path: The folder.
        advice: What to do about it; unless given, that of a command with ``--resume``.

    Raises:
        UsageError: The folder has a checkpoint. Settings and a history alone are left from a run that ended
            before its first epoch.
    """
    if has_checkpoint(path):
        raise UsageError(f"The run {path} exists; {advice}.")


def has_checkpoint(path: Path) -> bool:
    """Return whether a run's folder holds a checkpoint."""
    return any((path / name).is_file() for name in CHECKPOINT_NAMES)


def list_runs(checkpoints_dir: Path) -> tuple[str, ...]:
    """Return the names of the runs that hold a checkpoint, newest first."""
    newest: dict[str, int] = {}
    for name in CHECKPOINT_NAMES:
        for path in checkpoints_dir.glob(f"*/{name}"):
            run = path.parent.name
            newest[run] = max(newest.get(run, 0), path.stat().st_mtime_ns)
    return tuple(sorted(newest, key=lambda run: (newest[run], run), reverse=True))


def _checkpoint_at(path: Path) -> Path | None:
    if path.is_file() or bundle_of(path) is not None:
        return path
    return next((path / name for name in CHECKPOINT_NAMES if (path / name).is_file()), None)


def _describe(checkpoints_dir: Path) -> str:
    runs = list_runs(checkpoints_dir)
    if not runs:
        return f"{checkpoints_dir}, which holds no runs yet; `esdseg train` makes one."
    shown = ", ".join(runs[:SHOWN_RUNS])
    more = f" and {len(runs) - SHOWN_RUNS} older ones" if len(runs) > SHOWN_RUNS else ""
    return f"{checkpoints_dir}; its runs, newest first: {shown}{more}."


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
        if find_bundle(name, checkpoints_dir) is not None:
            continue
        if find_sweep(name, checkpoints_dir) is None and not resolve_folds(name, checkpoints_dir):
            resolve_checkpoint(name, checkpoints_dir)


def require_named_runs(config: ESDConfig, checkpoints_dir: Path) -> None:
    """Refuse a training whose settings name a run that is not there, without loading any.

    Args:
        config: Settings, which may name a run that labels tiles and one to start from.
        checkpoints_dir: Folder of the runs.

    Raises:
        InputDataError: Nothing is called so.
    """
    if config.data.pseudo_labels is not None:
        resolve_checkpoint(config.data.pseudo_labels, checkpoints_dir)
    if isinstance(config.model, NetworkSection) and config.model.starts_from_run:
        resolve_checkpoint(config.model.weights, checkpoints_dir)


def find_bundle(text: str, checkpoints_dir: Path) -> Bundle | None:
    """Read the bundle of ``esdseg export`` that ``text`` names.

    Args:
        text: A path from the current folder, or below ``checkpoints_dir``.
        checkpoints_dir: Folder of the runs.

    Returns:
        What it holds; ``None`` where ``text`` names no bundle.

    Raises:
        InputDataError: It is damaged.
    """
    for path in (Path(text), checkpoints_dir / text):
        if path.is_file():
            return read_bundle(path)
    return None


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
    scored.sort(key=lambda trial: trial[0], reverse=metric not in LOWER_IS_BETTER)
    return metric, [name for _, name in scored]


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
    # A checkpoint in a bundle has no folder for it.
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (KeyError, TypeError, ValueError) as error:
        raise InputDataError(f"{path} is damaged ({error}); move it away to go on without it.") from None
