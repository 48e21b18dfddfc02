"""``esdseg ablate``: what each sensor, date and band is worth to a network."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.options import (
    Assignments,
    ConfigFile,
    Json,
    SettingsCommand,
    comma_separated,
    load_prediction_settings,
)
from esdseg.cli.output import (
    GO_ON,
    START_AGAIN,
    counted,
    duration,
    epoch_progress,
    interruptible,
    print_json,
    print_line,
    print_note,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from esdseg.ablation.opening import Opened
    from esdseg.ablation.result import Ablation


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=SettingsCommand,
        epilog="Example: esdseg ablate first --by sensor,band  |  Train again: esdseg ablate first --retrain",
    )(ablate)


def ablate(
    context: typer.Context,
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A checkpoint's path, or a run in checkpoints/: RUN, RUN/last.ckpt, or a run in folds, each "
            "tile by the fold that held it out.",
        ),
    ],
    processed_dir: Path | None = None,
    subtile_size: int | None = None,
    split: str | None = None,
    by: Annotated[str | None, typer.Option(metavar="LEVEL,LEVEL")] = None,
    sensors: Annotated[str | None, typer.Option(metavar="SENSOR,SENSOR")] = None,
    retrain: Annotated[bool | None, typer.Option("--retrain")] = None,
    name: Annotated[
        str | None, typer.Option(help="Folder in predictions/ for the results; ablate-RUN unless given.")
    ] = None,
    tta: str | None = None,
    overlap: int | None = None,
    window_size: int | None = None,
    batch_size: int | None = None,
    accelerator: str | None = None,
    precision: str | None = None,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    predictions_dir: Path | None = None,
    json: Json = False,
) -> None:
    """Take sensors, dates and bands away from a network, and score what each of them is worth."""
    from esdseg.config.evaluation import AblationConfig

    lists = {"by": comma_separated(by), "sensors": comma_separated(sensors)}
    config = load_prediction_settings(context, AblationConfig, lists)

    from esdseg.ablation.finishing import write_ablation
    from esdseg.ablation.opening import open_ablation
    from esdseg.ablation.taking_away import take_away
    from esdseg.ablation.training_again import train_again

    opened = open_ablation(config)
    print_note(f"Checkpoint: {opened.scored.paths}")
    _print_plan(opened)
    with interruptible(START_AGAIN), progress("ablate") as advance:
        taken_away = take_away(opened, on_tile=advance)
    with interruptible(GO_ON), epoch_progress() as (print_epoch, on_step):
        retrained = train_again(
            opened,
            taken_away.scorer,
            on_run=lambda number, count, path: print_epoch(f"Training {number} of {count}: {path}"),
            on_epoch=lambda report: print_epoch(report.line()),
            on_step=on_step,
        )
    result = write_ablation(opened, taken_away, retrained)
    if json:
        print_json(result.to_json())
        return
    _print_ablation(result)


def _print_plan(opened: "Opened") -> None:
    """Say how many groups are taken away and, before hours of training, how many there are to be."""
    from esdseg.ablation.training_again import estimate_seconds, runs_to_train

    groups = counted(len(opened.removals), "group")
    tiles = counted(len(opened.scored.tiles), f"{opened.scored.split} tile")
    print_note(f"{groups} of {counted(len(opened.channels), 'channel')} to take away, on {tiles}")
    if opened.retrainings:
        runs = runs_to_train(opened.retrainings)
        finished = sum(len(retraining.runs) for retraining in opened.retrainings) - len(runs)
        kept = f" ({counted(finished, 'finished one')} kept)" if finished else ""
        time = f", at most about {duration(estimate_seconds(runs))}" if runs else ""
        print_note(f"{counted(len(runs), 'training')}{kept}{time}")


def _print_ablation(result: "Ablation") -> None:
    from esdseg.ablation.wording import tables

    for table in tables(result.whole, result.rows):
        print_table(table.title, table.header, table.rows)
    print_line(result.summary)
    for note in result.notes:
        print_line(f"Note: {note}")
    print_line(f"Scores:   {result.json_path}")
    print_line(f"Picture:  {result.picture}")
