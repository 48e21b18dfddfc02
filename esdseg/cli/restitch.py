"""``esdseg restitch``: predict tiles and write their maps."""

from typing import Annotated

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
from esdseg.cli.output import counted, print_json, print_line, print_note, progress


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(epilog="Example: esdseg restitch --checkpoint first --tiles Tile1,Tile2")(restitch)


def restitch(
    checkpoint: Checkpoint = None,
    processed_dir: ProcessedDir = None,
    subtile_size: SubtileSize = None,
    tiles: Annotated[
        str | None,
        typer.Option("--tiles", metavar="TILE,TILE", help="Tiles to map. \\[default: all in the store]"),
    ] = None,
    name: OutputName = None,
    batch_size: PredictionBatchSize = None,
    accelerator: Accelerator = None,
    precision: Precision = None,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    predictions_dir: PredictionsDir = None,
    json: Json = False,
) -> None:
    """Predict tiles and write prediction.tif, probabilities.tif and comparison.png for each."""
    from esdseg.config import EvalConfig, load_config

    config = load_config(
        EvalConfig,
        config_file,
        {
            "--checkpoint": ("checkpoint", checkpoint),
            "--processed-dir": ("processed_dir", processed_dir),
            "--subtile-size": ("subtile_size", subtile_size),
            "--tiles": ("tiles", [tile.strip() for tile in tiles.split(",")] if tiles else None),
            "--name": ("name", name),
            "--batch-size": ("batch_size", batch_size),
            "--accelerator": ("accelerator", accelerator),
            "--precision": ("precision", precision),
            "--predictions-dir": ("predictions_dir", predictions_dir),
        },
        assignments or (),
    )

    from esdseg.evaluation import restitch

    with progress("restitch") as advance:
        result = restitch(config, on_tile=advance)
    print_note(f"Checkpoint: {result.checkpoint}")
    if json:
        print_json(result.to_json())
        return
    for note in result.notes:
        print_line(f"Note: {note}")
    for picture in result.pictures:
        print_line(f"Picture:  {picture}")
    print_line(f"Maps of {counted(len(result.pictures), 'tile')}: {result.output_dir}")
