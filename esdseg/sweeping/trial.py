"""One trial: a training run, and what becomes of it."""

import gc
import math
import shutil
import sys
import traceback
from pathlib import Path

import torch

from esdseg.errors import ESDSegError, MissingResourceError
from esdseg.models.device import is_memory_fault
from esdseg.sweeping.study import Study, Taken
from esdseg.training.callbacks import EpochReport, StoppedRunError
from esdseg.training.fit import fit


def train_trial(study: Study, taken: Taken) -> None:
    """Train a trial into its folder and note how it ended; a failure is noted with its reason.

    Args:
        study: Where it belongs.
        taken: The trial.

    Raises:
        MissingResourceError: Weights or a login are missing; the trial is left for later.
    """
    sweep, trial = study.sweep, taken.trial
    for leftover in taken.leftovers:
        shutil.rmtree(study.folder / leftover, ignore_errors=True)
    best: float | None = None

    def judge(report: EpochReport) -> None:
        nonlocal best
        value = report.values()[sweep.metric.name]
        if not math.isnan(value) and (best is None or sweep.metric.is_better(value, best)):
            best = value
        # After the last epoch there is nothing left to save.
        is_last = report.epoch == report.max_epochs
        if best is not None and study.report(trial, report.epoch, best) and not is_last:
            raise StoppedRunError

    tracking = taken.config.tracking.model_copy(update={"group": sweep.name})
    config = taken.config.model_copy(update={"tracking": tracking})
    try:
        with study.heartbeat(trial):
            result = fit(config, checkpoints_dir=study.folder, name=taken.run, on_epoch=judge)
    except StoppedRunError:
        study.prune(trial, "worse than others after as many epochs")
        _drop_checkpoints(study.folder / taken.run)
    except MissingResourceError:
        # No other trial would fare better until the user supplies what is missing.
        study.give_back({trial.number})
        raise
    except Exception as error:  # Whatever a combination of settings dies of, the next one may work.
        traceback.print_exc(file=sys.stderr)
        study.fail(trial, reason_of(error))
        _drop_checkpoints(study.folder / taken.run)
    else:
        if best is None:
            study.fail(trial, f"{sweep.metric.name} has no value after {result.epochs} epochs")
        else:
            study.finish(trial, best)
    # Memory that a failed trial held is not to fail the next one.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def reason_of(error: Exception) -> str:
    """Word why a trial failed, in one line."""
    text = next(iter(str(error).strip().splitlines()), "")
    if isinstance(error, ESDSegError):
        return text
    if is_memory_fault(error):
        return f"out of memory: {text}" if text else "out of memory"
    return f"{type(error).__name__}: {text}"


def _drop_checkpoints(run: Path) -> None:
    """Keep the history of a run that nobody will use."""
    for checkpoint in run.glob("*.ckpt"):
        checkpoint.unlink()
