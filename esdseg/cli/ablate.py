"""``esdseg ablate``: what each sensor, place and band is worth to a network."""

from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.help import SettingsCommand
from esdseg.cli.options import (
    Assignments,
    ConfigFile,
    Folder,
    Json,
    Name,
    Whole,
    comma_separated,
    load_prediction_settings,
)
from esdseg.cli.output import (
    counted,
    duration,
    print_json,
    print_line,
    print_note,
    print_table,
)
from esdseg.cli.progress import GO_ON, LOADING, START_AGAIN, interruptible, progress

if TYPE_CHECKING:
    from esdseg.ablation.ablate import AblationPlan
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
    processed_dir: Folder = None,
    subtile_size: Whole = None,
    split: Name = None,
    by: Annotated[str | None, typer.Option(metavar="LEVEL,LEVEL")] = None,
    sensors: Annotated[str | None, typer.Option(metavar="SENSOR,SENSOR")] = None,
    retrain: Annotated[bool | None, typer.Option("--retrain")] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Folder in predictions/ for the results; ablate-RUN unless given."),
    ] = None,
    tta: Name = None,
    overlap: Whole = None,
    window_size: Whole = None,
    batch_size: Whole = None,
    accelerator: Name = None,
    precision: Name = None,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    predictions_dir: Folder = None,
    json: Json = False,
) -> None:
    """Take sensors, places and bands away from a network, and score what each of them is worth."""
    from esdseg.config.evaluation import AblationConfig

    lists = {"by": comma_separated(by), "sensors": comma_separated(sensors)}
    config = load_prediction_settings(context, AblationConfig, lists)

    with interruptible(START_AGAIN), progress("ablate", LOADING) as advance:
        from esdseg.ablation.ablate import plan_ablation, take_away, train_again, write_ablation

        plan = plan_ablation(config)
        print_note(f"Checkpoint: {plan.sources.paths}")
        _print_plan(plan)
        inference = take_away(plan, on_tile=advance)
    with interruptible(GO_ON), progress("ablate", "scores", is_line_an_item=False) as on_step:
        retrained = train_again(
            plan,
            inference.tiles,
            on_run=lambda number, count, path: print_note(f"Training {number} of {count}: {path}"),
            on_epoch=lambda report: print_note(report.line()),
            on_step=on_step,
        )
        result = write_ablation(plan, inference, retrained)
    if json:
        print_json(result.model_dump(mode="json"))
        return
    _print_ablation(result)


def _print_plan(plan: "AblationPlan") -> None:
    """Say how many groups are taken away and, before hours of training, how many there are to be."""
    from esdseg.ablation.retraining import estimate_seconds, runs_to_train

    groups = counted(len(plan.removals), "group")
    tiles = counted(len(plan.sources.tiles), f"{plan.sources.split} tile")
    print_note(f"{groups} of {counted(len(plan.channels), 'channel')} to take away, on {tiles}")
    if plan.retrainings:
        runs = runs_to_train(plan.retrainings)
        finished = sum(len(retraining.runs) for retraining in plan.retrainings) - len(runs)
        kept = f" ({counted(finished, 'finished one')} kept)" if finished else ""
        time = f", at most about {duration(estimate_seconds(runs))}" if runs else ""
        print_note(f"{counted(len(runs), 'training')}{kept}{time}")


def _print_ablation(result: "Ablation") -> None:
    for table in result.tables():
        print_table(table.title, table.header, table.rows)
    print_line(result.summary)
    for note in result.notes:
        print_line(f"Note: {note}")
    print_line(f"Scores:   {result.json_path}")
    print_line(f"Picture:  {result.picture}")
