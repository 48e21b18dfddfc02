"""``esdseg sweep``: search hyperparameters."""

import json as json_format
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.help import SettingsCommand
from esdseg.cli.options import Assignments, CheckpointsDir, Folder, Json, Name
from esdseg.cli.output import (
    counted,
    duration,
    log_console,
    plain,
    print_command,
    print_json,
    print_line,
    print_note,
    print_table,
)
from esdseg.cli.progress import GO_ON, LOADING, interruptible, progress
from esdseg.config.shipped import shipped_names
from esdseg.errors import UsageError

if TYPE_CHECKING:
    from pydantic import JsonValue
    from rich.console import Group

    from esdseg.sweeping.search_space import Sweep
    from esdseg.sweeping.study import TrialRecord
    from esdseg.sweeping.sweep import SweepResult, TrialsListener
    from esdseg.sweeping.sweep_file import SweepFile

BEST_SHOWN = 5
ROWS_SHOWN = 15
NO_TRIAL_EXIT_CODE = 1
ADDRESS_PATTERN = r"[^/\s]+/[^/\s]+/[A-Za-z0-9]{6,12}"
"""ENTITY/PROJECT/ID of a sweep at Weights & Biases."""


class Backend(StrEnum):
    """Who chooses the points."""

    LOCAL = "local"
    WANDB = "wandb"


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=SettingsCommand,
        epilog="Example: esdseg sweep unet --workers 2  |  What it would do: esdseg sweep unet --dry-run  |  "
        f"Files that come with esdseg: {', '.join(shipped_names('sweeps'))}",
    )(sweep)


def sweep(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.yml",
            help="What to search, in the format of W&B's sweeps: a file, or the name of one of esdseg's own. "
            "ENTITY/PROJECT/ID joins a sweep at W&B.",
        ),
    ],
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            min=1,
            metavar="N",
            help="Trials in all, those of earlier calls too. [default: run_cap]",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, metavar="N", help="Processes that train trials side by side.")
    ] = 1,
    backend: Annotated[
        Backend,
        typer.Option(
            "--backend",
            metavar="local|wandb",
            help="local needs no network; wandb lets Weights & Biases choose.",
        ),
    ] = Backend.LOCAL,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="Database for several machines, such as postgresql://USER@HOST/DATABASE. [default: a file "
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
            metavar="NAME",
            help="The sweep's folder in checkpoints/sweeps/. [default: the file's name, or its key]",
        ),
    ] = None,
    processed_dir: Folder = None,
    wandb: Name = None,
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

    settings = _settings(processed_dir, wandb, assignments or [])
    if (storage is not None or repeat_best) and (backend is Backend.WANDB or _is_address(file)):
        raise UsageError("--storage and --repeat-best are for --backend local; leave them out.")
    if _is_address(file):
        if dry_run:
            raise UsageError(f"--dry-run counts what a file searches, and {file} is a sweep of W&B.")
        _run_at_wandb(str(file), settings, checkpoints_dir, name, workers, count, json)
        return
    read = read_sweep(file, settings, name)
    for note in read.notes:
        print_note(note)
    search = replace(read.sweep, trials=count) if count else read.sweep
    if dry_run:
        _print_plan(search, checkpoints_dir, workers, json)
        return
    if backend is Backend.WANDB:
        _run_at_wandb(read, settings, checkpoints_dir, name, workers, count, json)
        return

    with interruptible(GO_ON), _show_trials(search.name) as on_trials:
        from esdseg.sweeping.sweep import run_sweep

        result = run_sweep(
            search,
            checkpoints_dir=checkpoints_dir,
            workers=workers,
            storage_url=storage,
            repeat_best=repeat_best,
            on_trials=on_trials,
        )
    _report(result, json)


def _is_address(file: Path) -> bool:
    """Say whether what was given as a file is ENTITY/PROJECT/ID, a sweep at Weights & Biases."""
    return re.fullmatch(ADDRESS_PATTERN, file.as_posix()) is not None and not file.exists()


def _run_at_wandb(
    target: "SweepFile | str",
    settings: "list[tuple[str, JsonValue, str]]",
    checkpoints_dir: Path,
    name: str | None,
    workers: int,
    count: int | None,
    json: bool,
) -> None:
    """Create, go on with or join a sweep that Weights & Biases steers, and train its runs here."""
    with (
        interruptible(GO_ON),
        _show_trials(target if isinstance(target, str) else target.sweep.name) as on_trials,
    ):
        from esdseg.sweeping.wandb_backend import Place, local_settings, run_wandb_sweep

        place = Place(checkpoints_dir, name, local_settings(settings, is_joined=isinstance(target, str)))
        result = run_wandb_sweep(
            target, place, workers=workers, count=count, on_trials=on_trials, on_note=print_note
        )
    _report(result, json)


def _report(result: "SweepResult", json: bool) -> None:
    """Print a sweep's result; exit code 1 where no trial has finished."""
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


def _print_plan(search: "Sweep", checkpoints_dir: Path, workers: int, json: bool) -> None:
    """Print what is searched, the number of trials, and an estimate of the time."""
    print_note("Counting trainings, and training a few steps of each model to see how long they take.")
    with progress("measure", LOADING) as advance:
        from esdseg.sweeping.plan import plan_sweep

        plan = plan_sweep(search, checkpoints_dir, advance)
    seconds = plan.seconds(workers)
    if json:
        print_json(
            {
                "name": search.name,
                "method": search.method,
                "metric": search.metric.name,
                "goal": search.metric.goal,
                "parameters": {setting: str(kind) for setting, kind in search.parameters.items()},
                "fixed": dict(search.fixed),
                "points": search.size(),
                "trainings": plan.trainings,
                "trials": plan.trials,
                "step_seconds": {model: pace.step_seconds for model, pace in plan.paces.items()},
                "trial_seconds": plan.trial_seconds,
                "seconds": seconds,
                "no_estimate_because": plan.fault,
            }
        )
        return
    highest = "highest" if search.metric.goal == "maximize" else "lowest"
    rows = [(setting, str(kind)) for setting, kind in search.parameters.items()]
    rows += [(setting, f"always {_words(value)}") for setting, value in search.fixed.items()]
    title = f"{search.name}: {search.method} search for the {highest} {search.metric.name}"
    print_table(title, ("setting", "values"), rows, texts=("values",))
    trials = "without end: give run_cap or --count" if plan.trials is None else str(plan.trials)
    if plan.trainings is not None:
        trials += f" of {counted(plan.trainings, 'different training')}"
    print_line(f"Trials:   {trials}")
    if search.termination:
        print_line(f"Stopping: {search.termination}")
    if plan.trial_seconds is None:
        print_line(f"Time:     not estimated: {plan.fault}")
        return
    total = f", {duration(seconds)} in all" if seconds else ""
    if_none = ", if none is stopped early" if search.termination else ""
    with_workers = f"with {counted(workers, 'worker')}{if_none}"
    print_line(f"Time:     about {duration(plan.trial_seconds)} a trial{total} {with_workers}")
    for model, pace in plan.paces.items():
        steps = f"{pace.steps} steps an epoch of {pace.step_seconds:.3f} s"
        whole = f"fitted in one go, in {duration(pace.step_seconds)}"
        print_line(f"          {model}: {steps if pace.has_epochs else whole}")


def _print_result(result: "SweepResult") -> None:
    metric, names = result.sweep.metric.name, list(result.sweep.parameters)
    states = ", ".join(f"{len(result.in_state(state))} {state}" for state in ("finished", "pruned", "failed"))
    pruned = result.in_state("pruned")
    if result.best is not None:
        shown = [*result.ranking[:BEST_SHOWN], *pruned[:BEST_SHOWN]]
        rows = [
            (
                f"{trial.trial} pruned" if trial.state == "pruned" else str(trial.trial),
                _score(trial.value),
                str(trial.best_epoch),
                f"{trial.epochs} of {trial.max_epochs}",
                *(_words(trial.settings.get(name)) for name in names),
            )
            for trial in shown
        ]
        header = ("trial", metric, "epoch", "epochs", *(name.rpartition(".")[2] for name in names))
        print_table(f"{result.sweep.name}: {states}; the best", header, rows)
    else:
        print_line(f"{result.sweep.name}: no trial finished ({states}).")
        reasons = dict.fromkeys(trial.reason for trial in result.in_state("failed") if trial.reason)
        for reason in list(reasons)[:BEST_SHOWN]:
            print_line(f"  failed: {reason}")
    if pruned:
        epochs = sorted(trial.epochs for trial in pruned)
        span = (
            counted(epochs[-1], "epoch") if epochs[0] == epochs[-1] else f"{epochs[0]} to {epochs[-1]} epochs"
        )
        print_line(
            f"Pruned:   {counted(len(pruned), 'trial')} judged after {span}; none of them can be the best"
        )
    if result.repeats is not None and result.best is not None:
        repeats = result.repeats
        print_line(
            f"Repeated: trial {result.best.trial} with {counted(len(repeats.values), 'other seed')}: "
            f"{metric} {_score(repeats.mean)}, standard deviation {_score(repeats.standard_deviation)} "
            f"({repeats.folder})"
        )
    print_line(f"Sweep:    {result.folder}")
    if result.address is not None:
        print_line(f"At W&B:   {result.address}")
    for path in result.files:
        print_line(f"          {path.name}")
    if result.sync_command is not None:
        print_command("To upload what Weights & Biases lacks", result.sync_command)
    if result.best is not None:
        print_command("Next", f"esdseg train --config {shlex.quote(str(result.folder / 'best.yml'))}")


@contextmanager
def _show_trials(name: str) -> Iterator["TrialsListener"]:
    """Show a live table on a terminal, and a line for each ended trial elsewhere, both on standard error."""
    console, first = log_console(), f"{name}: starting"
    if not console.is_terminal:
        print_note(first)
        yield _line_printer()
        return

    from rich.live import Live

    with Live(plain(first), console=console, refresh_per_second=4, transient=True) as live:
        yield lambda search, trials: live.update(_table(search, trials, console.width))


def _line_printer() -> "TrialsListener":
    """Return what prints a trial's line once it is over; those of earlier calls are counted in one line."""
    printed: dict[str, set[int]] = {}

    def show(search: "Sweep", trials: Sequence["TrialRecord"]) -> None:
        ended = [trial for trial in trials if trial.state != "running"]
        if search.name not in printed:
            printed[search.name] = {trial.trial for trial in ended}
            print_note(_standing(search, len(ended)))
        for trial in ended:
            if trial.trial not in printed[search.name]:
                printed[search.name].add(trial.trial)
                print_note(_trial_line(search, trial))

    return show


def _trial_line(search: "Sweep", trial: "TrialRecord") -> str:
    parts = [f"Trial {trial.trial} {trial.state}"]
    if trial.value is not None:
        parts.append(f"{search.metric.name} {_score(trial.value)} in epoch {trial.best_epoch}")
    parts.append("  ".join(f"{name} {_words(value)}" for name, value in trial.settings.items()))
    if trial.seconds is not None:
        parts.append(duration(trial.seconds))
    return "  ".join(part for part in (*parts, trial.reason) if part)


def _table(search: "Sweep", trials: Sequence["TrialRecord"], width: int) -> "Group":
    """Return the newest trials as a table, with as many of their settings as fit."""
    from rich.console import Group

    from esdseg.cli.tables import fit_columns

    header = ("trial", "state", search.metric.name, "epochs", *search.parameters)
    rows = [
        (
            str(trial.trial),
            trial.state,
            _score(trial.value),
            str(trial.epochs),
            *(_words(trial.settings.get(name)) for name in search.parameters),
        )
        for trial in trials[-ROWS_SHOWN:]
    ]
    done = sum(trial.state != "running" for trial in trials)
    return Group(plain(_standing(search, done)), fit_columns(header, rows, width))


def _standing(search: "Sweep", done: int) -> str:
    total = f" of {search.trials}" if search.trials else ""
    return f"{search.name}: {done}{total} trials are done"


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if value is None:
        return "-"
    return value if isinstance(value, str) else json_format.dumps(value)
