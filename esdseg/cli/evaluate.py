"""``esdseg evaluate``: predict and score the tiles of a split."""

from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.options import (
    PREDICTION_FLAGS,
    Accelerator,
    Assignments,
    Calibrate,
    Checkpoints,
    ConfigFile,
    Dask,
    Ensemble,
    Json,
    OutputName,
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
    START_AGAIN,
    interruptible,
    prefixed,
    print_json,
    print_line,
    print_note,
    print_table,
    progress,
)

if TYPE_CHECKING:
    from esdseg.scoring.results import EvaluationResult


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        epilog="Example: esdseg evaluate --checkpoint first --split val  |  A sweep's 3 best trials, turned "
        "and blended: esdseg evaluate --checkpoint sweeps/unet --ensemble 3 --tta d4 --overlap 2"
    )(evaluate)


def evaluate(
    context: typer.Context,
    checkpoint: Checkpoints = None,
    ensemble: Ensemble = None,
    processed_dir: ProcessedDir = None,
    subtile_size: SubtileSize = None,
    split: Split = None,
    name: OutputName = None,
    tta: TestTimeAugmentation = None,
    overlap: Overlap = None,
    window_size: WindowSize = None,
    calibrate: Calibrate = None,
    batch_size: PredictionBatchSize = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    dask: Dask = None,
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
    from esdseg.config.evaluation import EvalConfig

    config = load_prediction_config(EvalConfig, PREDICTION_FLAGS, context.params, config_file, assignments)

    from esdseg.scoring.evaluate import evaluate

    with interruptible(START_AGAIN), progress("evaluate") as advance:
        result = evaluate(
            config,
            on_tile=advance,
            on_simple=prefixed(advance, "simple models"),
            on_choosing=prefixed(advance, "temperature"),
        )
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
