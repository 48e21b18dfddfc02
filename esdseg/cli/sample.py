"""``esdseg sample``: write synthetic tiles."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from esdseg.cli.help import Subcommand
from esdseg.cli.options import Json, SensorsFile, Workers
from esdseg.cli.output import print_command, print_json, print_line
from esdseg.cli.progress import GO_ON, interruptible, progress


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(cls=Subcommand, epilog="Example: esdseg sample data/raw/Train --tiles 12")(sample)


def sample(
    output_dir: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for Tile1, Tile2, ...")],
    tiles: Annotated[int, typer.Option("--tiles", min=1, metavar="N", help="How many tiles to write.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Same seed, same tiles.")] = 0,
    crs: Annotated[
        bool, typer.Option("--crs", help="Give the rasters a UTM CRS and transform; the contest's have none.")
    ] = False,
    sensors: SensorsFile = None,
    dates: Annotated[
        str | None,
        typer.Option(
            "--dates",
            metavar="FILE.yml|random",
            help="A file of dates and skies, or random for others in every tile; the contest's unless given.",
        ),
    ] = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Write synthetic tiles, named and typed as the contest delivers them (170 MB a tile)."""
    with interruptible(GO_ON), progress("sample") as advance:
        from esdseg.config.loading import load_sensors
        from esdseg.sample.writing import write_sample_tiles
        from esdseg.system.memory import available_cores

        table = load_sensors(sensors)
        folders = write_sample_tiles(
            output_dir,
            tiles=tiles,
            seed=seed,
            crs=crs,
            workers=workers or available_cores(),
            sensors=table,
            dates="random" if dates == "random" else None if dates is None else Path(dates),
            on_tile=advance,
        )
    if json:
        print_json(
            {"output_dir": str(output_dir), "seed": seed, "tiles": [folder.name for folder in folders]}
        )
    else:
        print_line(f"Wrote {len(folders)} sample tiles to {output_dir}.")
        print_command("Next", f"esdseg check {shlex.quote(str(output_dir))}")
