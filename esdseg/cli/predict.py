"""``esdseg predict``: map an area from scenes, tiles or a store."""

from pathlib import Path
from typing import Annotated

import typer

from esdseg.cli.help import SettingsCommand
from esdseg.cli.options import (
    Address,
    Assignments,
    Bounds,
    ConfigFile,
    Folder,
    Json,
    Name,
    Reference,
    Whole,
    load_settings,
)
from esdseg.cli.output import counted, print_json, print_line, print_table
from esdseg.cli.progress import GO_ON, LOADING, interruptible, prefixed, progress

File = Annotated[Path | None, typer.Option(metavar="FILE")]


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=SettingsCommand,
        epilog="Example: esdseg predict first scenes/ --out map  |  A part of it by two networks: esdseg "
        "predict first scenes/ --out map --with second --area 34.1,-14.2,34.6,-13.8",
    )(predict)


def predict(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="What predicts: a run in checkpoints/ (all its folds), a checkpoint's path, or sweeps/NAME.",
        ),
    ],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Folder of scenes of any extent and reference system, of tiles, or of a processed store.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the map; an earlier map is replaced.")
    ],
    further: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="RUN", help="Predicts together with RUN; may be repeated."),
    ] = None,
    ensemble: Whole = None,
    area: Bounds = None,
    crs: Reference = None,
    sensors: Annotated[Path | None, typer.Option(metavar="FILE.yml")] = None,
    reflectance_offset: Name = None,
    tta: Name = None,
    overlap: Whole = None,
    window_size: Whole = None,
    calibrate: bool | None = None,
    processed_dir: Folder = None,
    subtile_size: Whole = None,
    with_lit: Annotated[bool | None, typer.Option("--with-lit")] = None,
    population: File = None,
    grid: File = None,
    vector_crs: Name = None,
    workers: Whole = None,
    dask: Address = None,
    batch_size: Whole = None,
    accelerator: Name = None,
    precision: Name = None,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    json: Json = False,
) -> None:
    """Map an area: one GeoTIFF of it all, its settlements as a GeoPackage, and a page to look at."""
    from esdseg.config.evaluation import MapConfig
    from esdseg.mapping.output_folder import require_input, require_replaceable
    from esdseg.models.runs import require_runs

    config = load_settings(context, MapConfig, {"run": [run, *(further or ())]})
    require_input(source)
    require_replaceable(out)
    if config.population is not None or config.grid is not None:
        from esdseg.mapping.supplements import check_supplements

        check_supplements(config.population, config.grid)
    if config.ensemble is None:
        require_runs(config.checkpoints, config.checkpoints_dir)
    with interruptible(GO_ON), progress("predict", LOADING) as advance:
        from esdseg.mapping.predict import predict

        result = predict(config, source, out, advance, prefixed(advance, "temperature"))
    if json:
        print_json(result.to_json())
        return
    for table in result.tables:
        print_table(table.title, table.header, table.rows)
    for note in result.notes:
        print_line(f"Note: {note}")
    if result.settlements is not None:
        print_line(f"{counted(result.settlements, 'settlement')} without electricity.")
    for path in result.files:
        print_line(f"Wrote:  {path}")
