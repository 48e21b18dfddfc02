"""``esdseg cut``: cut scenes into tiles."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.help import SettingsCommand
from esdseg.cli.options import (
    Assignments,
    Bounds,
    ConfigFile,
    Json,
    Name,
    Number,
    Reference,
    Whole,
    load_settings,
)
from esdseg.cli.output import (
    counted,
    needs,
    print_command,
    print_json,
    print_line,
    print_note,
    print_table,
    print_warning,
)
from esdseg.cli.progress import GO_ON, interruptible, progress
from esdseg.system.memory import megabytes

if TYPE_CHECKING:
    from esdseg.tiles.cutting import CutPlan

File = Annotated[Path | None, typer.Option(metavar="FILE")]
Raster = Annotated[Path | None, typer.Option(metavar="RASTER")]


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=SettingsCommand,
        epilog="Example: esdseg cut scenes/ data/raw/Malawi --area district.geojson  |  With labels to train "
        "on: esdseg cut scenes/ data/raw/Malawi --buildings open_buildings.csv.gz --lights black_marble.tif",
    )(cut)


def cut(
    context: typer.Context,
    scenes: Annotated[Path, typer.Argument(metavar="SCENES")],
    output: Annotated[Path, typer.Argument(metavar="OUT")],
    crs: Reference = None,
    area: Bounds = None,
    overlap: Annotated[int | None, typer.Option(metavar="CELLS")] = None,
    resampling: Name = None,
    sensors: Annotated[Path | None, typer.Option(metavar="FILE.yml")] = None,
    labels: Raster = None,
    buildings: File = None,
    lights: Raster = None,
    lit: File = None,
    light_threshold: Number = None,
    workers: Whole = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and what it costs; write nothing.")
    ] = False,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    json: Json = False,
) -> None:
    """Cut georeferenced rasters, as agencies deliver them, into tiles of 8 x 8 km at 10 m."""
    from esdseg.config.cutting import CutConfig

    config = load_settings(context, CutConfig)

    with interruptible(GO_ON), progress("cut", "looking at the scenes") as advance:
        from esdseg.tiles.cutting import cut, plan_cut

        if dry_run:
            plan, result = plan_cut(config), None
        else:
            result = cut(config, on_plan=_print_cost, on_tile=advance)
            plan = result.plan
    if json:
        print_json(plan.to_json() if result is None else result.to_json())
        return
    print_table(
        f"Scenes of {config.scenes}",
        ("sensor", "dates", "from", "to"),
        [
            (plan.scenes.sensors.sensor(name).title, str(len(days)), str(days[0]), str(days[-1]))
            for name, days in plan.dates.items()
        ],
    )
    if result is None:
        for warning in plan.warnings:
            print_warning(warning)
        print_line(f"{_area(plan)}; {needs(plan.cost)}. Nothing was written.")
        return
    if result.code_counts:
        from esdseg.sensors.classes import CLASSES

        rows = [(kind.title_with_code, f"{result.code_counts.get(kind.code, 0):,}") for kind in CLASSES]
        unknown = result.code_counts.get(0, 0)
        print_table(
            "Labels", ("class", "cells"), [*rows, *([("unknown", f"{unknown:,}")] if unknown else [])]
        )
    if result.empty:
        print_line(f"{counted(len(result.empty), 'tile')} left out, as nothing was measured there.")
    print_line(
        f"{config.output}: {counted(len(result.written), 'tile')} written, {len(plan.kept)} kept; "
        f"{plan.crs_name}, {megabytes(result.bytes)}, {result.seconds:.1f} s."
    )
    described = [] if config.sensors is None else ["--sensors", str(config.sensors)]
    words = ["preprocess", "--raw-dir", str(config.output), *described]
    print_command("Next", f"esdseg {shlex.join(words)}")


def _area(plan: "CutPlan") -> str:
    to_do = f", {len(plan.kept)} of them there already" if plan.kept else ""
    return f"{counted(len(plan.tiles), 'tile')}{to_do} in {plan.crs_name}"


def _print_cost(plan: "CutPlan") -> None:
    print_note(f"{_area(plan)}. Needs {needs(plan.cost)}.")
    for warning in plan.warnings:
        print_warning(warning)
