"""``esdseg sample``: write synthetic tiles, or a synthetic scene."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from esdseg.cli.help import Subcommand
from esdseg.cli.options import Json, SensorsFile, Workers
from esdseg.cli.output import print_command, print_json, print_line
from esdseg.cli.progress import GO_ON, START_AGAIN, interruptible, progress
from esdseg.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=Subcommand,
        epilog="Example: esdseg sample data/raw/Train --tiles 12  |  A whole area, to try cut and predict: "
        "esdseg sample malawi --scene --size 40  |  Other land: esdseg sample sahel --region sahel",
    )(sample)


def sample(
    output_dir: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for Tile1, Tile2, ..., or for the scene.")
    ],
    tiles: Annotated[
        int | None, typer.Option("--tiles", min=1, metavar="N", help="How many tiles; 12 unless given.")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            min=0,
            metavar="N",
            help="Same seed, same tiles or land; a scene lies east of that of the seed before.",
        ),
    ] = 0,
    crs: Annotated[
        bool, typer.Option("--crs", help="Give the rasters a UTM CRS and transform; the contest's have none.")
    ] = False,
    sensors: SensorsFile = None,
    dates: Annotated[
        str | None,
        typer.Option(
            "--dates",
            metavar="FILE.yml|random",
            help="A file of dates and skies, or random for others in every tile; the contest's, or August "
            "2021 for a scene, unless given.",
        ),
    ] = None,
    region: Annotated[
        str,
        typer.Option(
            "--region",
            metavar="NAME",
            help="Kind of land: savanna, sahel, delta or highlands, with other roofs, soil, plants, density, "
            "lights, relief and clouds.",
        ),
    ] = "savanna",
    scene: Annotated[
        bool,
        typer.Option(
            "--scene",
            help="Write one georeferenced area as agencies deliver it, with its buildings, lit areas and "
            "true classes.",
        ),
    ] = False,
    size: Annotated[
        float | None,
        typer.Option("--size", metavar="KM", help="Side of the scene, 8 to 100 km; 40 unless given."),
    ] = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Write synthetic tiles, named and typed as the contest delivers them (170 MB a tile)."""
    from esdseg.sample.regions import find_region

    find_region(region)
    if scene:
        _refuse_with_scene(
            {"--tiles": tiles, "--crs": crs or None, "--sensors": sensors, "--workers": workers}
        )
        _write_scene(output_dir, seed, 40.0 if size is None else size, dates, region, json)
        return
    if size is not None:
        raise UsageError("--size is for a scene; add --scene, or say how many --tiles you want")
    with interruptible(GO_ON), progress("sample") as advance:
        from esdseg.config.loading import load_sensors
        from esdseg.sample.writing import write_sample_tiles
        from esdseg.system.memory import available_cores

        table = load_sensors(sensors)
        folders = write_sample_tiles(
            output_dir,
            tiles=12 if tiles is None else tiles,
            seed=seed,
            crs=crs,
            workers=workers or available_cores(),
            sensors=table,
            dates="random" if dates == "random" else None if dates is None else Path(dates),
            region=region,
            on_tile=advance,
        )
    if json:
        print_json(
            {
                "output_dir": str(output_dir),
                "region": region,
                "seed": seed,
                "tiles": [folder.name for folder in folders],
            }
        )
    else:
        print_line(f"Wrote {len(folders)} sample tiles to {output_dir}.")
        described = [] if sensors is None else ["--sensors", str(sensors)]
        print_command("Next", f"esdseg {shlex.join(['check', str(output_dir), *described])}")


def _refuse_with_scene(given: dict[str, object]) -> None:
    for flag, value in given.items():
        if value is not None:
            raise UsageError(f"{flag} is for tiles; leave it out, or leave out --scene")


def _write_scene(
    output_dir: Path, seed: int, size_km: float, dates: str | None, region: str, json: bool
) -> None:
    with interruptible(START_AGAIN), progress("sample") as advance:
        from esdseg.sample.scene import write_sample_scene

        scene = write_sample_scene(
            output_dir,
            seed=seed,
            size_km=size_km,
            dates="random" if dates == "random" else None if dates is None else Path(dates),
            region=region,
            on_step=advance,
        )
    if json:
        paths = {"scenes": scene.scenes, "buildings": scene.buildings, "lit": scene.lit, "truth": scene.truth}
        print_json({"output_dir": output_dir, "region": region, "seed": seed, "size_km": size_km, **paths})
        return
    print_line(f"Wrote a scene of {size_km:g} x {size_km:g} km to {output_dir}.")
    words = ["cut", scene.scenes, output_dir / "tiles", "--buildings", scene.buildings, "--lit", scene.lit]
    print_command("Next", f"esdseg {shlex.join(map(str, words))}")
