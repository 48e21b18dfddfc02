"""``esdseg evaluate``: predict and score the tiles of a split."""

from typing import TYPE_CHECKING

import typer

from esdseg.cli.help import SettingsCommand
from esdseg.cli.options import (
    Address,
    Assignments,
    Checkpoints,
    ConfigFile,
    Folder,
    Json,
    Name,
    Whole,
    load_prediction_settings,
)
from esdseg.cli.output import (
    print_json,
    print_line,
    print_note,
    print_places,
    print_table,
)
from esdseg.cli.progress import LOADING, START_AGAIN, interruptible, prefixed, progress

if TYPE_CHECKING:
    from esdseg.scoring.results import EvaluationResult


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=SettingsCommand,
        epilog="Example: esdseg evaluate --checkpoint first --split val  |  A sweep's 3 best trials, turned "
        "and blended: esdseg evaluate --checkpoint sweeps/unet --ensemble 3 --tta d4 --overlap 2",
    )(evaluate)


def evaluate(
    context: typer.Context,
    checkpoint: Checkpoints = None,
    ensemble: Whole = None,
    processed_dir: Folder = None,
    subtile_size: Whole = None,
    split: Name = None,
    name: Name = None,
    tta: Name = None,
    overlap: Whole = None,
    window_size: Whole = None,
    calibrate: bool | None = None,
    batch_size: Whole = None,
    accelerator: Name = None,
    precision: Name = None,
    dask: Address = None,
    simple_baselines: bool | None = None,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    predictions_dir: Folder = None,
    json: Json = False,
) -> None:
    """Predict every tile of a split, score the map, and write scores, report and pictures."""
    from esdseg.config.evaluation import EvalConfig

    config = load_prediction_settings(context, EvalConfig)

    with interruptible(START_AGAIN), progress("evaluate", LOADING) as advance:
        from esdseg.scoring.evaluate import evaluate

        result = evaluate(
            config,
            on_tile=advance,
            on_simple=prefixed(advance, "simple models"),
            on_choosing=prefixed(advance, "temperature"),
            on_result=advance,
        )
    print_note(f"Checkpoint: {result.card.checkpoint}")
    if json:
        print_json(result.to_json())
        return
    print_evaluation(result)


def print_evaluation(result: "EvaluationResult") -> None:
    """Print scores, notes and the paths of the results."""
    for table in result.tables:
        print_table(table.title, table.header, table.rows)
    print_places(result.card.places)
    for note in result.card.notes:
        print_line(f"Note: {note}")
    print_line(f"Scores:   {result.metrics_path}")
    print_line(f"Report:   {result.report_path}")
    for picture in result.pictures:
        print_line(f"Picture:  {picture}")
