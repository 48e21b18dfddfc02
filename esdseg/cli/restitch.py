"""``esdseg restitch``: predict tiles and write their maps."""

from typing import Annotated

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
    SubtileSize,
    TestTimeAugmentation,
    WindowSize,
    load_prediction_config,
)
from esdseg.cli.output import (
    START_AGAIN,
    counted,
    interruptible,
    prefixed,
    print_json,
    print_line,
    print_note,
    progress,
)


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        epilog="Example: esdseg restitch --checkpoint first --tiles Tile1,Tile2  |  Several networks, turned "
        "and blended: esdseg restitch --checkpoint first --checkpoint second --tta d4 --overlap 2"
    )(restitch)


def restitch(
    context: typer.Context,
    checkpoint: Checkpoints = None,
    ensemble: Ensemble = None,
    processed_dir: ProcessedDir = None,
    subtile_size: SubtileSize = None,
    tiles: Annotated[
        str | None,
        typer.Option("--tiles", metavar="TILE,TILE", help="Tiles to map. \\[default: all in the store]"),
    ] = None,
    name: OutputName = None,
    tta: TestTimeAugmentation = None,
    overlap: Overlap = None,
    window_size: WindowSize = None,
    calibrate: Calibrate = None,
    batch_size: PredictionBatchSize = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    dask: Dask = None,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    predictions_dir: PredictionsDir = None,
    json: Json = False,
) -> None:
    """Predict tiles and write prediction.tif, probabilities.tif and comparison.png for each."""
    from esdseg.config.evaluation import RestitchConfig

    names = [tile.strip() for tile in tiles.split(",")] if tiles else None
    config = load_prediction_config(
        RestitchConfig, PREDICTION_FLAGS, {**context.params, "tiles": names}, config_file, assignments
    )

    from esdseg.scoring.restitch import restitch

    with interruptible(START_AGAIN), progress("restitch") as advance:
        result = restitch(config, on_tile=advance, on_choosing=prefixed(advance, "temperature"))
    print_note(f"Checkpoint: {result.checkpoint}")
    if json:
        print_json(result.to_json())
        return
    for note in result.notes:
        print_line(f"Note: {note}")
    for picture in result.pictures:
        print_line(f"Picture:  {picture}")
    print_line(f"Maps of {counted(len(result.pictures), 'tile')}: {result.output_dir}")
