"""``esdseg adapt``: fit a trained network to a new place by its images alone."""

from pathlib import Path
from typing import Annotated

import typer

from esdseg.cli.help import SettingsCommand
from esdseg.cli.options import (
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
from esdseg.cli.output import counted, print_json, print_line
from esdseg.cli.progress import LOADING, START_AGAIN, interruptible, progress


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=SettingsCommand,
        epilog="Example: esdseg adapt first scenes/ --name first-there  |  Then: esdseg predict first-there "
        "scenes/ --out map",
    )(adapt)


def adapt(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="The network: a run in checkpoints/, a checkpoint's path, or sweeps/NAME."
        ),
    ],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="The new place: folder of scenes of any extent and reference system, of tiles, or of a "
            "processed store. Labels are not looked at.",
        ),
    ],
    name: Name = None,
    area: Bounds = None,
    crs: Reference = None,
    sensors: Annotated[Path | None, typer.Option(metavar="FILE.yml")] = None,
    reflectance_offset: Name = None,
    window_size: Whole = None,
    subtile_size: Whole = None,
    accelerator: Name = None,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    checkpoints_dir: Folder = None,
    json: Json = False,
) -> None:
    """Fit a trained network to a new place by its images alone, without labels, as a run of its own.

    The scale of its channels and its batch normalisation are measured anew over the place; its weights stay
    as they were learned.
    """
    from esdseg.config.evaluation import AdaptConfig
    from esdseg.mapping.output_folder import require_input
    from esdseg.models.runs import check_name, check_new, require_runs

    config = load_settings(context, AdaptConfig, {"run": run})
    require_input(source)
    if config.name is not None:
        check_name(config.name)
        check_new(config.checkpoints_dir / config.name, "choose another --name")
    require_runs(config.checkpoints, config.checkpoints_dir)
    with interruptible(START_AGAIN), progress("adapt", LOADING) as advance:
        from esdseg.mapping.adapt import adapt

        result = adapt(config, source, advance)
    if json:
        print_json(result.to_json())
        return
    print_line(
        f"{result.run_dir}: the scale of {counted(result.channels, 'channel')} and "
        f"{counted(result.layers, 'layer')} of batch normalisation, measured over {result.blocks} of "
        f"{counted(result.area_blocks, 'block')} of 8 x 8 km."
    )
    for note in result.notes:
        print_line(f"Note: {note}")
    for path in result.checkpoints:
        print_line(f"Wrote:  {path}")
    print_line(f"Next: esdseg predict {result.run_dir.name} {source} --out map")
