"""The runs of all folds, one after the other."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

from esdseg.config.training import ESDConfig
from esdseg.errors import InputDataError, UsageError
from esdseg.models.runs import LAST_NAME, check_name, check_new, fold_run_name, folds_name
from esdseg.report.training_curves import CURVES_NAME
from esdseg.system.processes import ItemListener, ignore
from esdseg.training.callbacks import EpochListener
from esdseg.training.fit import fit
from esdseg.training.run_folder import (
    CONFIG_NAME,
    FitResult,
    RunProgress,
    claim_name,
    merge_settings,
    read_progress,
)
from esdseg.training.wandb_connection import NoteListener

FOLD_VARIABLE = "ESDSEG_FOLD"
"""Tells the further processes of one fold's run, which start the program anew, which fold it is."""

FoldListener = Callable[[int, int, Path], None]
"""Takes the number of a fold that is trained next, how many folds there are, and its folder."""


@dataclass(frozen=True)
class FoldsResult:
    """The finished runs of all folds.

    Attributes:
        name: What they are called together.
        checkpoints_dir: Where they lie.
        config: Their settings, those of the first fold.
        runs: The run of each fold, in order.
    """

    name: str
    checkpoints_dir: Path
    config: ESDConfig
    runs: tuple[FitResult, ...]

    @property
    def checkpoint(self) -> str:
        """What ``esdseg evaluate --checkpoint`` takes to score all tiles by the folds that held them out."""
        return folds_name(str(self.checkpoints_dir / self.name), len(self.runs))

    def to_json(self) -> dict[str, object]:
        """Return the result as plain JSON types."""
        return {"checkpoint": self.checkpoint, "folds": [run.to_json() for run in self.runs]}


def fit_folds(
    config: ESDConfig,
    *,
    checkpoints_dir: Path = Path("checkpoints"),
    name: str | None = None,
    resume: bool = False,
    on_fold: FoldListener | None = None,
    on_epoch: EpochListener | None = None,
    on_step: ItemListener = ignore,
    on_note: NoteListener = lambda note: None,
) -> FoldsResult:
    """Train every fold into ``RUN-fold1of5``, ``RUN-fold2of5`` and so on.

    Args:
        config: All settings; ``folds.fold`` may name any of the folds, only how many there are counts.
        checkpoints_dir: Folder of the runs.
        name: What the runs are called together: MODEL-DATE-TIME, or the newest folds where some are resumed.
        resume: Go on where an earlier call stopped: finished folds are kept, the others trained with the same
            settings, and those that lack nothing but their calibration calibrated.
        on_fold: Called before each fold that is trained or calibrated.
        on_epoch: Called after each epoch; see :func:`esdseg.training.fit.fit`.
        on_step: Called after each training step.
        on_note: Called with sentences for the user, such as the address of the run at Weights & Biases.

    Raises:
        UsageError: A run has one of the names, settings were given that differ from the runs', or several
            machines were asked for.
        InputDataError: There is nothing to resume; and as for :func:`esdseg.training.fit.fit`.
    """
    count = config.folds.count
    if config.trainer.num_nodes > 1 or (rank_zero_only.rank and FOLD_VARIABLE not in os.environ):
        raise UsageError(
            "--folds trains on one machine, from one process that starts the others; elsewhere train each "
            f"fold by itself: --fold 1/{count} to --fold {count}/{count}."
        )
    suffixes = {number: fold_run_name("", number, count) for number in range(1, count + 1)}
    if name is None and resume:
        name = _newest_folds(checkpoints_dir, count)
    elif name is None:
        name = claim_name(config, checkpoints_dir, list(suffixes.values()))
    paths = {number: checkpoints_dir / f"{name}{suffix}" for number, suffix in suffixes.items()}
    begun: dict[int, RunProgress] = {}
    if resume:
        found = {number: read_progress(path) for number, path in paths.items()}
        begun = {number: progress for number, progress in found.items() if progress is not None}
        if not begun:
            raise InputDataError(
                f"There is no run to resume at {paths[1]} or its siblings: none has {LAST_NAME}. Start it "
                "without --resume."
            )
    elif rank_zero_only.rank == 0:
        for path in paths.values():
            check_name(path.name)
            check_new(path)

    go_on = f"Finished epochs are kept; go on with the same command and --resume --name {name}."
    runs: list[FitResult] = []
    settings_of: list[ESDConfig] = []
    for number, path in paths.items():
        settings = _of_fold(config, number)
        progress = begun.get(number)
        if begun:
            # A fold that has not begun takes the settings of those that have.
            kept = (progress or next(iter(begun.values()))).metadata.config
            settings = merge_settings(_of_fold(kept, number), settings, path / CONFIG_NAME)
        settings_of.append(settings)
        if progress is not None and progress.is_finished(settings) and (path / CURVES_NAME).is_file():
            runs.append(progress.result(path))
            continue
        if rank_zero_only.rank and os.environ[FOLD_VARIABLE] != str(number):
            continue
        if on_fold is not None and rank_zero_only.rank == 0:
            on_fold(number, count, path)
        with _known_to_further_processes(number), _saying_how_to_go_on(paths.values(), go_on):
            runs.append(
                fit(
                    settings,
                    checkpoints_dir=checkpoints_dir,
                    name=path.name,
                    resume=progress is not None,
                    on_epoch=on_epoch,
                    on_step=on_step,
                    on_note=on_note,
                )
            )
    return FoldsResult(name, checkpoints_dir, settings_of[0], tuple(runs))


def _of_fold(config: ESDConfig, number: int) -> ESDConfig:
    folds = config.folds.model_copy(update={"fold": f"{number}/{config.folds.count}"})
    return config.model_copy(update={"folds": folds})


def _newest_folds(checkpoints_dir: Path, count: int) -> str:
    """Return what the folds with the newest last checkpoint are called together."""
    found = checkpoints_dir.glob(f"{folds_name('*', count)}/{LAST_NAME}")
    newest = max(found, key=lambda path: (path.stat().st_mtime_ns, path), default=None)
    if newest is None:
        raise InputDataError(
            f"There is no run of {count} folds to resume in {checkpoints_dir}; start one without --resume."
        )
    return newest.parent.name.rpartition("-fold")[0]


@contextmanager
def _saying_how_to_go_on(runs: Iterable[Path], go_on: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        begun = any((path / LAST_NAME).is_file() for path in runs)
        raise KeyboardInterrupt(go_on if begun else "") from None


@contextmanager
def _known_to_further_processes(number: int) -> Iterator[None]:
    before = os.environ.get(FOLD_VARIABLE)
    os.environ[FOLD_VARIABLE] = str(number)
    try:
        yield
    finally:
        if before is None:
            del os.environ[FOLD_VARIABLE]
        else:
            os.environ[FOLD_VARIABLE] = before
