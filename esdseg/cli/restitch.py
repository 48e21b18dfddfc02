"""``esdseg restitch``: predict tiles and write their maps."""

from typing import Annotated

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
    comma_separated,
    load_prediction_settings,
)
from esdseg.cli.output import (
    counted,
    print_json,
    print_line,
    print_note,
    print_places,
    print_table,
)
from esdseg.cli.progress import LOADING, START_AGAIN, interruptible, prefixed, progress


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=SettingsCommand,
        epilog="Example: esdseg restitch --checkpoint first --tiles Tile1,Tile2  |  Several networks, turned "
        "and blended: esdseg restitch --checkpoint first --checkpoint second --tta d4 --overlap 2  |  "
        "To hand in: esdseg restitch --checkpoint first --processed-dir data/val --submission classroom",
    )(restitch)


def restitch(
    context: typer.Context,
    checkpoint: Checkpoints = None,
    ensemble: Whole = None,
    processed_dir: Folder = None,
    subtile_size: Whole = None,
    tiles: Annotated[str | None, typer.Option(metavar="TILE,TILE")] = None,
    name: Name = None,
    tta: Name = None,
    overlap: Whole = None,
    window_size: Whole = None,
    calibrate: bool | None = None,
    batch_size: Whole = None,
    accelerator: Name = None,
    precision: Name = None,
    dask: Address = None,
    submission: Name = None,
    any_tiles: Annotated[bool | None, typer.Option("--any-tiles")] = None,
    contest_names: Name = None,
    contest_values: Annotated[str | None, typer.Option(metavar="N,N")] = None,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    predictions_dir: Folder = None,
    json: Json = False,
) -> None:
    """Predict tiles and write prediction.tif, probabilities.tif and comparison.png for each.

    With --submission also what the class's leaderboard or the contest takes.
    """
    from esdseg.config.evaluation import RestitchConfig

    lists = {"tiles": comma_separated(tiles), "contest_values": comma_separated(contest_values)}
    config = load_prediction_settings(context, RestitchConfig, lists)

    with interruptible(START_AGAIN), progress("restitch", LOADING) as advance:
        from esdseg.scoring.restitch import restitch

        result = restitch(config, on_tile=advance, on_choosing=prefixed(advance, "temperature"))
    print_note(f"Checkpoint: {result.checkpoint}")
    if json:
        print_json(result.to_json())
        return
    print_places(result.places)
    table = result.channel_table
    if table is not None:
        print_table(table.title, table.header, table.rows)
    for note in result.notes:
        print_line(f"Note: {note}")
    for picture in result.pictures:
        print_line(f"Picture:  {picture}")
    if result.submission is not None:
        print_line(f"To hand in: {result.submission.path}")
    print_line(f"Maps of {counted(len(result.pictures), 'tile')}: {result.output_dir}")
