"""One trial of a sweep: a training run, and what becomes of it."""

import math
import shutil
from pathlib import Path

import optuna

from esdseg.config.training import ESDConfig
from esdseg.errors import ESDSegError, MissingResourceError
from esdseg.models.device import is_memory_fault
from esdseg.sweeping.study import REASON, SweepStudy, TrialFailedError, run_name
from esdseg.training.callbacks import EpochReport, StoppedRunError
from esdseg.training.fit import fit


class UserNeededError(BaseException):
    """What only the user can supply is missing; no ``Exception``, since Optuna would catch it."""


def train_trial(study: SweepStudy, checkpoints_dir: Path, trial: optuna.Trial, config: ESDConfig) -> float:
    """Train a trial into its folder.

    Args:
        study: Where it belongs.
        checkpoints_dir: Folder in which runs that its settings name are looked up.
        trial: The trial.
        config: All settings of its run.

    Returns:
        The metric's best value.

    Raises:
        TrialFailedError: It cannot be trained.
        optuna.TrialPruned: It was worse than others after as many epochs.
        UserNeededError: Weights or a login are missing; the trial is left for later.
    """
    metric = study.sweep.metric
    best: float | None = None

    def judge(report: EpochReport) -> None:
        nonlocal best
        value = report.values()[metric.name]
        if not math.isnan(value) and (best is None or metric.is_better(value, best)):
            best = value
        if best is None:
            return
        trial.report(best, report.epoch)
        # After the last epoch there is nothing left to save.
        if report.epoch < report.max_epochs and trial.should_prune():
            reason = f"stopped after {report.epoch} of {report.max_epochs} epochs, worse than others by then"
            trial.set_user_attr(REASON, reason)
            raise StoppedRunError

    for leftover in study.leftover_runs(trial):
        shutil.rmtree(study.folder / leftover, ignore_errors=True)
    run = study.folder / run_name(trial.number)
    tracking = config.tracking.model_copy(update={"group": study.sweep.name})
    config = config.model_copy(update={"tracking": tracking})
    try:
        result = fit(
            config,
            checkpoints_dir=study.folder,
            named_runs_dir=checkpoints_dir,
            name=run.name,
            on_epoch=judge,
        )
    except StoppedRunError:
        drop_checkpoints(run)
        raise optuna.TrialPruned from None
    except MissingResourceError as error:
        # No other trial would fare better until the user supplies what is missing.
        raise UserNeededError(str(error)) from error
    except Exception as error:  # Whatever a combination of settings dies of, the next one may work.
        drop_checkpoints(run)
        raise TrialFailedError(reason_of(error)) from error
    if best is None:
        raise TrialFailedError(f"{metric.name} has no value after {result.epochs} epochs")
    return best


def reason_of(error: Exception) -> str:
    """Return why a trial failed, in one line."""
    text = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, ESDSegError):
        return text
    if is_memory_fault(error):
        return f"out of memory: {text}" if text else "out of memory"
    return f"{type(error).__name__}: {text}"


def drop_checkpoints(run: Path) -> None:
    """Keep the history alone of a run that nobody will use."""
    for checkpoint in run.glob("*.ckpt"):
        checkpoint.unlink()
