"""``esdseg train --folds``: train all folds, then score every tile by the fold that held it out."""

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from esdseg.cli.evaluate import print_evaluation
from esdseg.cli.output import (
    START_AGAIN,
    epoch_progress,
    interruptible,
    prefixed,
    print_json,
    print_line,
    print_note,
    print_table,
    progress,
)
from esdseg.system.imports import loading_torch

if TYPE_CHECKING:
    from esdseg.config.training import ESDConfig
    from esdseg.training.reports import FitResult


def train_folds(
    config: "ESDConfig", checkpoints_dir: Path, name: str | None, resume: bool, json: bool
) -> None:
    """Train every fold, then score each tile by the fold that held it out."""
    from esdseg.config.evaluation import EvalConfig

    with loading_torch():
        from esdseg.training.fold_fitting import fit_folds

    with interruptible(START_AGAIN), epoch_progress() as (print_epoch, on_step):
        trained = fit_folds(
            config,
            checkpoints_dir=checkpoints_dir,
            name=name,
            resume=resume,
            on_fold=lambda number, count, path: print_epoch(f"Fold {number} of {count}: {path}"),
            on_epoch=lambda report: print_epoch(report.line()),
            on_step=on_step,
        )

    from esdseg.scoring.evaluate import evaluate

    first = trained.runs[0]
    go_on = f"All folds are trained; score them by the same command with --resume --name {trained.name}."
    with interruptible(go_on), progress("evaluate") as advance:
        result = evaluate(
            EvalConfig(
                checkpoint=trained.checkpoint,
                checkpoints_dir=checkpoints_dir,
                processed_dir=trained.config.data.processed_dir,
                subtile_size=trained.config.data.subtile_size,
                name=trained.name,
                accelerator=config.trainer.accelerator,
                precision=config.trainer.precision,
            ),
            on_tile=advance,
            on_simple=prefixed(advance, "simple models"),
        )
    print_note(f"Checkpoint: {result.checkpoint}")
    if json:
        print_json({**trained.to_json(), "evaluation": result.to_json()})
        return
    print_table(
        f"{trained.name}: {len(trained.runs)} folds, scores of the inner tiles",
        ("fold", "best epoch", "epochs", *(metric for metric in first.best_metrics)),
        [
            (
                run.run_dir.name.rpartition("-fold")[2].replace("of", "/"),
                str(run.best_epoch),
                str(run.epochs),
                *("undefined" if isnan(value) else f"{value:.4f}" for value in run.best_metrics.values()),
            )
            for run in trained.runs
        ],
    )
    print_evaluation(result)
    for run in trained.runs:
        print_upload(run)
    print_line(f"Next: esdseg evaluate --checkpoint '{trained.checkpoint}', which repeats the scoring")


def print_upload(run: "FitResult") -> None:
    """Print what uploads a run to Weights & Biases, where it was logged offline."""
    if run.sync_command:
        print_line(f"To upload the offline run to Weights & Biases: {run.sync_command}")
