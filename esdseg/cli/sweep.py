"""``esdseg sweep``: search hyperparameters."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.options import Assignments, CheckpointsDir, Json, SettingsCommand
from esdseg.cli.output import GO_ON, counted, interruptible, print_json, print_line, print_note, print_table
from esdseg.cli.sweep_plan import print_plan
from esdseg.cli.sweep_progress import score, show_trials, words
from esdseg.errors import UsageError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from esdseg.sweeping.sweep_file import SweepFile
    from esdseg.sweeping.sweeping import SweepResult

BEST_SHOWN = 5
NO_TRIAL_EXIT_CODE = 1


class Backend(StrEnum):
    """Who chooses the points."""

    LOCAL = "local"
    WANDB = "wandb"


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=SettingsCommand,
        epilog="Example: esdseg sweep sweeps/unet.yml --workers 2  |  What it would do: esdseg sweep "
        "sweeps/unet.yml --dry-run",
    )(sweep)


def sweep(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.yml", help="What to search, in the format of W&B's sweeps.")
    ],
    count: Annotated[
        int | None,
        typer.Option(
            "--count", min=1, help="Trials in all, those of earlier calls too. \\[default: run_cap]"
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes that train trials side by side.")
    ] = 1,
    backend: Annotated[
        Backend,
        typer.Option("--backend", help="local needs no network; wandb lets Weights & Biases choose."),
    ] = Backend.LOCAL,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="Database for several machines, such as postgresql://USER@HOST/DATABASE. \\[default: a file "
            "in the sweep's folder]",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be searched and how long it takes; search nothing."),
    ] = False,
    repeat_best: Annotated[
        int,
        typer.Option(
            "--repeat-best", min=0, metavar="K", help="Train the best configuration with K other seeds too."
        ),
    ] = 0,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="The sweep's folder in checkpoints/sweeps/. \\[default: the file's name, or its key]",
        ),
    ] = None,
    processed_dir: Path | None = None,
    wandb: str | None = None,
    assignments: Assignments = None,
    checkpoints_dir: CheckpointsDir = Path("checkpoints"),
    json: Json = False,
) -> None:
    """Search hyperparameters; the same command goes on where it stopped.

    Every trial is a run in checkpoints/sweeps/NAME/. There lie also trials.csv, best.yml for `esdseg train
    --config`, and pictures. Ends with exit code 1 where no trial finished.
    """
    from dataclasses import replace

    from esdseg.sweeping.sweep_file import read_sweep

    read = read_sweep(file, _settings(processed_dir, wandb, assignments or []), name)
    if read.ignored:
        print_note(f"Ignored in {file}: {', '.join(read.ignored)}; this command trains by itself.")
    search = replace(read.sweep, trials=count) if count else read.sweep
    if dry_run:
        print_plan(search, workers, json)
        return
    if backend is Backend.WANDB:
        _search_at_wandb(read, workers, count, storage, repeat_best, checkpoints_dir, json)
        return

    from esdseg.sweeping.sweeping import run_sweep

    with interruptible(GO_ON), show_trials() as on_records:
        result = run_sweep(
            search,
            checkpoints_dir=checkpoints_dir,
            workers=workers,
            storage_url=storage,
            repeat_best=repeat_best,
            on_records=on_records,
        )
    if json:
        print_json(result.to_json())
    else:
        _print_result(result)
    if result.best is None:
        raise typer.Exit(NO_TRIAL_EXIT_CODE)


def _settings(
    processed_dir: Path | None, wandb: str | None, assignments: list[str]
) -> list[tuple[str, "JsonValue", str]]:
    """Return the settings of every trial that the command line gives, each with its flag."""
    from esdseg.config.loading import read_assignment

    settings: list[tuple[str, JsonValue, str]] = []
    if processed_dir is not None:
        settings.append(("data.processed_dir", str(processed_dir), "--processed-dir"))
    if wandb is not None:
        settings.append(("tracking.wandb", wandb, "--wandb"))
    for assignment in assignments:
        dotted, value = read_assignment(assignment)
        settings.append((dotted, value, f"--set {dotted}"))  # type: ignore[arg-type]
    return settings


def _search_at_wandb(
    read: "SweepFile",
    workers: int,
    count: int | None,
    storage: str | None,
    repeat_best: int,
    checkpoints_dir: Path,
    json: bool,
) -> None:
    if storage is not None or repeat_best:
        raise UsageError("--storage and --repeat-best are for --backend local; leave them out.")

    from esdseg.sweeping.wandb_backend import check_login, run_wandb_sweep

    check_login()

    from esdseg.sweeping.sweeping import check_store, make_folder, sweep_folder

    check_store(read.sweep)
    folder = sweep_folder(checkpoints_dir, read.sweep)
    make_folder(folder)
    identity = run_wandb_sweep(read, folder=folder, workers=workers, count=count)
    if json:
        print_json({"name": read.sweep.name, "folder": str(folder), "backend": "wandb", "sweep": identity})
    else:
        print_line(f"Sweep at Weights & Biases: {identity}; its runs here: {folder}")


def _print_result(result: "SweepResult") -> None:
    ranking = result.ranking
    states = ", ".join(f"{result.count(state)} {state}" for state in ("finished", "pruned", "failed"))
    if ranking:
        names = list(result.sweep.parameters)
        print_table(
            f"{result.sweep.name}: {states}; the best",
            ("trial", result.sweep.metric.name, "epoch", *names),
            [
                (
                    str(one.number),
                    score(one.value),
                    f"{one.best_epoch}/{one.epochs}",
                    *(words(one.settings.get(setting)) for setting in names),
                )
                for one in ranking[:BEST_SHOWN]
            ],
        )
    else:
        print_line(f"{result.sweep.name}: no trial finished ({states}).")
        reasons = [one.reason for one in result.records if one.state == "failed" and one.reason]
        for reason in list(dict.fromkeys(reasons))[:BEST_SHOWN]:
            print_line(f"  failed: {reason}")
    if result.repeats is not None:
        repeats = result.repeats
        mean, spread = score(repeats.mean), score(repeats.spread)
        print_line(
            f"Repeated: trial {repeats.trial} with {counted(len(repeats.values), 'other seed')}: "
            f"{result.sweep.metric.name} {mean}, standard deviation {spread} ({repeats.folder})"
        )
    print_line(f"Sweep:    {result.folder}")
    for path in result.files:
        print_line(f"          {path.name}")
    if result.best is not None:
        print_line(f"Next: esdseg train --config {result.folder / 'best.yml'}")
