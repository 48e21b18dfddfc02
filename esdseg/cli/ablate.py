"""``esdseg ablate``: what each sensor, date and band is worth to a network."""

from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.options import (
    PREDICTION_FLAGS,
    Accelerator,
    Assignments,
    ConfigFile,
    Json,
    Overlap,
    Precision,
    PredictionBatchSize,
    PredictionsDir,
    ProcessedDir,
    Split,
    SubtileSize,
    TestTimeAugmentation,
    WindowSize,
    load_prediction_config,
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

# The checkpoint is an argument here, and messages call it so.
ABLATION_FLAGS = {
    **PREDICTION_FLAGS,
    "CHECKPOINT": "checkpoint",
    "--by": "by",
    "--sensors": "sensors",
    "--retrain": "retrain",
}
"""The configuration key behind each argument and flag."""


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        epilog="Example: esdseg ablate first --by sensor,band  |  Train again: esdseg ablate first --retrain"
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
    processed_dir: ProcessedDir = None,
    subtile_size: SubtileSize = None,
    split: Split = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="LEVEL,LEVEL",
            help="What to take away: sensor, date, band. \\[default: all three; sensor for --retrain]",
        ),
    ] = None,
    sensors: Annotated[
        str | None,
        typer.Option(
            "--sensors", metavar="SENSOR,SENSOR", help="From which sensors. \\[default: the network's]"
        ),
    ] = None,
    retrain: Annotated[
        bool | None,
        typer.Option(
            "--retrain",
            help="Also train again without each group, with the checkpoint's settings, into "
            "checkpoints/ablations/RUN; what is finished there is kept.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Folder below predictions/ for the results. \\[default: ablate-RUN]"),
    ] = None,
    tta: TestTimeAugmentation = None,
    overlap: Overlap = None,
    window_size: WindowSize = None,
    batch_size: PredictionBatchSize = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    predictions_dir: PredictionsDir = None,
    json: Json = False,
) -> None:
    """Take sensors, dates and bands away from a network, and score what each of them is worth."""
    from esdseg.config.evaluation import AblationConfig

    parameters = {**context.params, "by": _words(by), "sensors": _words(sensors)}
    config = load_prediction_config(AblationConfig, ABLATION_FLAGS, parameters, config_file, assignments)

    from esdseg.ablation.finishing import write_ablation
    from esdseg.ablation.opening import open_ablation
    from esdseg.ablation.taking_away import take_away
    from esdseg.ablation.training_again import train_again

    opened = open_ablation(config)
    print_note(f"Checkpoint: {opened.scored.checkpoint}")
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


def _words(text: str | None) -> list[str] | None:
    return [word.strip() for word in text.split(",")] if text is not None else None


def _print_plan(opened: "Opened") -> None:
    """Say how many groups are taken away and, before hours of training, how many there are to be."""
    from esdseg.ablation.training_again import estimate_seconds, runs_to_train

    groups = counted(len(opened.removals), "group")
    tiles = counted(len(opened.scored.tiles), f"{opened.scored.split} tile")
    print_note(f"{groups} of {counted(len(opened.channels), 'channel')} to take away, on {tiles}")
    if opened.retrainings:
        runs = runs_to_train(opened.retrainings)
        finished = sum(len(one.runs) for one in opened.retrainings) - len(runs)
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
