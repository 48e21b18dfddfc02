"""``esdseg evaluate``: predict and score the tiles of a split."""

from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.options import (
    Accelerator,
    Assignments,
    Checkpoint,
    ConfigFile,
    Json,
    OutputName,
    Precision,
    PredictionBatchSize,
    PredictionsDir,
    ProcessedDir,
    SubtileSize,
)
from esdseg.cli.output import prefixed, print_json, print_line, print_note, print_table, progress

if TYPE_CHECKING:
    from esdseg.evaluation import EvaluationResult


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(epilog="Example: esdseg evaluate --checkpoint first --split val")(evaluate)


def evaluate(
    checkpoint: Checkpoint = None,
    processed_dir: ProcessedDir = None,
    subtile_size: SubtileSize = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Tiles to score: train, val, test, or fold, those that a fold's run held out. "
            "\\[default: val, or fold for a fold's run]",
        ),
    ] = None,
    name: OutputName = None,
    batch_size: PredictionBatchSize = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    simple_baselines: Annotated[
        bool | None,
        typer.Option(
            "--simple-baselines/--no-simple-baselines",
            help="Fit logistic regression and boosted trees to the same training tiles and score them "
            "beside; they are kept for the next time. \\[default: simple-baselines]",
        ),
    ] = None,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    predictions_dir: PredictionsDir = None,
    json: Json = False,
) -> None:
    """Predict every tile of a split, score the map, and write scores, report and pictures."""
    from esdseg.config import EvalConfig, load_config

    config = load_config(
        EvalConfig,
        config_file,
        {
            "--checkpoint": ("checkpoint", checkpoint),
            "--processed-dir": ("processed_dir", processed_dir),
            "--subtile-size": ("subtile_size", subtile_size),
            "--split": ("split", split),
            "--name": ("name", name),
            "--batch-size": ("batch_size", batch_size),
            "--accelerator": ("accelerator", accelerator),
            "--precision": ("precision", precision),
            "--simple-baselines": ("simple_baselines", simple_baselines),
            "--predictions-dir": ("predictions_dir", predictions_dir),
        },
        assignments or (),
    )

    from esdseg.evaluation import evaluate

    with progress("evaluate") as advance:
        result = evaluate(config, on_tile=advance, on_simple=prefixed(advance, "simple models"))
    print_note(f"Checkpoint: {result.checkpoint}")
    if json:
        print_json(result.to_json())
        return
    print_evaluation(result)


def print_evaluation(result: "EvaluationResult") -> None:
    """Print scores, notes and the paths of the results."""
    for table in result.tables:
        print_table(table.title, table.header, table.rows)
    for note in result.notes:
        print_line(f"Note: {note}")
    print_line(f"Scores:   {result.metrics_path}")
    print_line(f"Report:   {result.report_path}")
    for picture in result.pictures:
        print_line(f"Picture:  {picture}")
