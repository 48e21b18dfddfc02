"""``esdseg train``: train a network on the processed tiles."""

import shlex
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.evaluate import print_evaluation
from esdseg.cli.help import SettingsCommand
from esdseg.cli.options import (
    Assignments,
    CheckpointsDir,
    Folder,
    Json,
    Name,
    Number,
    TrainingConfigFile,
    Whole,
    load_training_settings,
)
from esdseg.cli.output import (
    print_command,
    print_json,
    print_line,
    print_note,
    print_table,
)
from esdseg.cli.progress import LOADING, START_AGAIN, interruptible, prefixed, progress
from esdseg.config.shipped import shipped_names
from esdseg.errors import UsageError

if TYPE_CHECKING:
    from esdseg.config.training import ESDConfig
    from esdseg.training.run_folder import FitResult


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=SettingsCommand,
        epilog="Example: esdseg train --model unet --max-epochs 20 --set model.n_encoders=2  |  In folds: "
        "esdseg train --folds 5 --name crossed, or one of them: --fold 2/5  |  Recipes for --config that "
        f"come with esdseg: {', '.join(f'recipes/{name}' for name in shipped_names('recipes'))}",
    )(train)


def train(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="A model's name; `esdseg models` lists them.")
    ] = None,
    processed_dir: Folder = None,
    subtile_size: Whole = None,
    max_epochs: Whole = None,
    batch_size: Whole = None,
    learning_rate: Number = None,
    seed: Whole = None,
    calibrate: Annotated[bool | None, typer.Option("--calibrate")] = None,
    fold: Annotated[str | None, typer.Option(metavar="K/N")] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="N",
            help="Train all N folds into RUN-fold1ofN and so on, then score every tile by the fold that held "
            "it out. --resume goes on where it stopped.",
        ),
    ] = None,
    buffer_km: Number = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="RUN", help="The run's folder in checkpoints/; MODEL-DATE-TIME unless given."
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the run's last checkpoint (the newest run's unless named)."
        ),
    ] = False,
    wandb: Name = None,
    wandb_sweep: Annotated[
        bool,
        typer.Option(
            "--wandb-sweep", help="Train the run that an agent of W&B chose: the command of a W&B sweep."
        ),
    ] = False,
    accelerator: Name = None,
    devices: Name = None,
    precision: Name = None,
    config_file: TrainingConfigFile = None,
    assignments: Assignments = None,
    checkpoints_dir: CheckpointsDir = Path("checkpoints"),
    json: Json = False,
) -> None:
    """Train a model on the processed tiles, validating after each epoch.

    The models cell_logistic and cell_boosting are fitted in one go instead:
    settings of epochs, optimizer, augmentation and devices are refused.
    """
    if wandb_sweep:
        train_for_agent(json)
        return
    if fold and folds:
        raise UsageError("--fold trains one fold and --folds all of them: give one of the two.")
    config = load_training_settings(context)
    if folds:
        train_folds(config, checkpoints_dir, name, resume, json)
        return
    with interruptible(START_AGAIN), progress("train", LOADING, is_line_an_item=False) as on_step:
        from esdseg.training.fit import fit

        result = fit(
            config,
            checkpoints_dir=checkpoints_dir,
            name=name,
            resume=resume,
            on_epoch=lambda report: print_note(report.line()),
            on_step=on_step,
            on_needs=lambda needs: print_note(needs.line()),
            on_note=print_note,
        )
    print_result(result, json)


def train_for_agent(json: bool) -> None:
    """Train the run that an agent of Weights & Biases has started this process for."""
    with (
        interruptible("The agent stops."),
        progress("train", LOADING, is_line_an_item=False) as on_step,
    ):
        from esdseg.sweeping.wandb_run import train_chosen

        result = train_chosen(
            on_epoch=lambda report: print_note(report.line()), on_step=on_step, on_note=print_note
        )
    if result is not None:
        print_result(result, json)


def print_result(result: "FitResult", json: bool) -> None:
    """Print a finished run."""
    from esdseg.config.training import MONITORED_METRICS

    if json:
        print_json(result.to_json())
        return
    print_table(
        f"{result.run_dir.name}: best.ckpt is epoch {result.best_epoch} of {result.epochs}",
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
    command = _evaluate_command(result.best_checkpoint, result.run_dir.name, result.processed_dir)
    print_command("Next", command)


def _evaluate_command(checkpoint: object, name: str, processed_dir: Path) -> str:
    """Return the command that scores a run into a folder of its own, not into that of its model."""
    words = ["--checkpoint", str(checkpoint), "--name", name, "--processed-dir", str(processed_dir)]
    return f"esdseg evaluate {shlex.join(words)}"


def train_folds(
    config: "ESDConfig", checkpoints_dir: Path, name: str | None, resume: bool, json: bool
) -> None:
    """Train every fold, then score each tile by the fold that held it out."""
    from esdseg.config.evaluation import EvalConfig

    with interruptible(START_AGAIN), progress("train", LOADING, is_line_an_item=False) as on_step:
        from esdseg.training.folds import fit_folds

        trained = fit_folds(
            config,
            checkpoints_dir=checkpoints_dir,
            name=name,
            resume=resume,
            on_fold=lambda number, count, path: print_note(f"Fold {number} of {count}: {path}"),
            on_epoch=lambda report: print_note(report.line()),
            on_step=on_step,
            on_note=print_note,
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
            on_result=advance,
        )
    print_note(f"Checkpoint: {result.card.checkpoint}")
    if json:
        print_json({**trained.to_json(), "evaluation": result.to_json()})
        return
    print_table(
        f"{trained.name}: {len(trained.runs)} folds, scores of the inner tiles",
        ("fold", "best.ckpt", "of epochs", *first.best_metrics),
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
    again = _evaluate_command(trained.checkpoint, trained.name, first.processed_dir)
    print_command("To score them again", again)


def print_upload(run: "FitResult") -> None:
    """Print where a run is at Weights & Biases, and what uploads what is lacking there."""
    if run.wandb_url:
        print_line(f"Weights & Biases: {run.wandb_url}")
    if run.sync_command:
        print_command("To upload what Weights & Biases lacks", run.sync_command)
