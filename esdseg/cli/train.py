"""``esdseg train``: train a network on the processed tiles."""

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.evaluate import print_evaluation
from esdseg.cli.options import (
    Accelerator,
    Assignments,
    CheckpointsDir,
    ConfigFile,
    Json,
    Precision,
    ProcessedDir,
    Seed,
    SubtileSize,
)
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
from esdseg.errors import UsageError

if TYPE_CHECKING:
    from esdseg.config.training import ESDConfig
    from esdseg.training.run_folder import FitResult

FLAG_KEYS = {
    "--model": "model.name",
    "--processed-dir": "data.processed_dir",
    "--subtile-size": "data.subtile_size",
    "--batch-size": "data.batch_size",
    "--max-epochs": "trainer.max_epochs",
    "--calibrate": "trainer.calibrate",
    "--learning-rate": "optimizer.learning_rate",
    "--seed": "trainer.seed",
    "--fold": "folds.fold",
    "--folds": "folds.fold",
    "--buffer-km": "folds.buffer_km",
    "--accelerator": "trainer.accelerator",
    "--devices": "trainer.devices",
    "--precision": "trainer.precision",
    "--wandb": "tracking.wandb",
}
"""The configuration key behind each flag."""


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        epilog="Example: esdseg train --model unet --max-epochs 20 --set model.n_encoders=2  |  In folds: "
        "esdseg train --folds 5 --name crossed, or one of them: --fold 2/5"
    )(train)


def train(
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="A model's name; `esdseg models` lists them. \\[default: sensor_branches]"
        ),
    ] = None,
    processed_dir: ProcessedDir = None,
    subtile_size: SubtileSize = None,
    max_epochs: Annotated[
        int | None,
        typer.Option("--max-epochs", help="Epochs at most; cell_* models are fitted in one. \\[default: 40]"),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", help="Windows a step and device. \\[default: the model's own]"),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", help="Highest learning rate. \\[default: the model's own]"),
    ] = None,
    seed: Seed = None,
    calibrate: Annotated[
        bool | None,
        typer.Option(
            "--calibrate",
            help="At the end choose a temperature for the probabilities and a threshold for class 1, on the "
            "tiles that chose the epoch.",
        ),
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option(
            "--fold",
            metavar="K/N",
            help="Hold out fold K of N and train on the other labelled tiles; a fifth of these chooses the "
            "epoch.",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            min=2,
            metavar="N",
            help="Train all N folds into RUN-fold1ofN and so on, then score every tile by the fold that held "
            "it out. --resume goes on where it stopped.",
        ),
    ] = None,
    buffer_km: Annotated[
        float | None,
        typer.Option(
            "--buffer-km",
            help="Tiles nearer to each other than this stay in one fold, where rasters carry coordinates. "
            "\\[default: 0, those that touch]",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="RUN", help="The run's folder in checkpoints/. \\[default: MODEL-DATE-TIME]"
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the run's last checkpoint (the newest run's unless named)."
        ),
    ] = False,
    wandb: Annotated[
        str | None,
        typer.Option(
            "--wandb",
            help="online, offline or disabled. \\[default: auto: online where a login exists, else offline]",
        ),
    ] = None,
    accelerator: Accelerator = None,
    devices: Annotated[
        str | None, typer.Option("--devices", help="Number of GPUs or CPU processes. \\[default: auto]")
    ] = None,
    precision: Precision = None,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    checkpoints_dir: CheckpointsDir = Path("checkpoints"),
    json: Json = False,
) -> None:
    """Train a model on the processed tiles, validating after each epoch.

    The cell_logistic and cell_boosting models are fitted in one go instead: epochs, optimizer, augmentation,
    devices and --resume do not apply to them.
    """
    from esdseg.config.loading import load_config
    from esdseg.config.training import ESDConfig

    if fold and folds:
        raise UsageError("--fold trains one fold and --folds all of them: give one of the two.")
    flags = {
        "--model": model,
        "--processed-dir": processed_dir,
        "--subtile-size": subtile_size,
        "--batch-size": batch_size,
        "--max-epochs": max_epochs,
        "--learning-rate": learning_rate,
        "--seed": seed,
        "--calibrate": calibrate,
        "--fold": fold,
        "--folds": f"1/{folds}" if folds else None,
        "--buffer-km": buffer_km,
        "--accelerator": accelerator,
        "--devices": int(devices) if devices and devices.isdigit() else devices,
        "--precision": precision,
        "--wandb": wandb,
    }
    config = load_config(
        ESDConfig,
        config_file,
        {flag: (FLAG_KEYS[flag], value) for flag, value in flags.items()},
        assignments or (),
    )

    if folds:
        train_folds(config, checkpoints_dir, name, resume, json)
        return

    from esdseg.config.training import MONITORED_METRICS
    from esdseg.training.fit import fit

    with interruptible(START_AGAIN), epoch_progress() as (print_epoch, on_step):
        result = fit(
            config,
            checkpoints_dir=checkpoints_dir,
            name=name,
            resume=resume,
            on_epoch=lambda report: print_epoch(report.line()),
            on_step=on_step,
            on_needs=lambda needs: print_note(needs.line()),
        )
    if json:
        print_json(result.to_json())
        return
    print_table(
        f"{result.run_dir.name}: best epoch {result.best_epoch} of {result.epochs}",
        ("validation score", "value"),
        [
            (
                metric,
                "undefined" if isnan(result.best_metrics[metric]) else f"{result.best_metrics[metric]:.4f}",
            )
            for metric in MONITORED_METRICS
            if metric in result.best_metrics
        ],
    )
    print_line(f"Run: {result.run_dir}")
    print_upload(result)
    print_line(f"Next: esdseg evaluate --checkpoint {result.best_checkpoint}")


def train_folds(
    config: "ESDConfig", checkpoints_dir: Path, name: str | None, resume: bool, json: bool
) -> None:
    """Train every fold, then score each tile by the fold that held it out."""
    from esdseg.config.evaluation import EvalConfig
    from esdseg.training.folds import fit_folds

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
