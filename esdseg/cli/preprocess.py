"""``esdseg preprocess``: turn raw tiles into the processed store."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.options import Assignments, ConfigFile, Json, ProcessedDir, Seed, SubtileSize, Workers
from esdseg.cli.output import (
    GO_ON,
    counted,
    interruptible,
    needs,
    prefixed,
    print_json,
    print_line,
    print_note,
    print_table,
    print_warning,
    progress,
)
from esdseg.system.memory import megabytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esdseg.preprocessing.planning import PreprocessPlan
    from esdseg.tiles.cost import Cost


class RecipeName(StrEnum):
    """The ready-made recipes."""

    PHYSICAL = "physical"
    COURSE = "course"


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(epilog="Example: esdseg preprocess --raw-dir data/raw/Train --subtile-size 4")(preprocess)


def preprocess(
    raw_dir: Annotated[
        Path | None,
        typer.Option("--raw-dir", help="Folder that holds the tiles' folders. \\[default: data/raw/Train]"),
    ] = None,
    processed_dir: ProcessedDir = None,
    subtile_size: SubtileSize = None,
    val_fraction: Annotated[
        float | None,
        typer.Option(
            "--val-fraction", help="Share of the other labelled tiles kept for validation. \\[default: 0.2]"
        ),
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(
            "--test-fraction",
            help="Share of the labelled tiles set aside in Test/ before all else. \\[default: 0]",
        ),
    ] = None,
    seed: Seed = None,
    workers: Workers = None,
    dask: Annotated[
        str | None,
        typer.Option(
            "--dask",
            metavar="ADDRESS",
            help="Let the workers of a Dask scheduler write the tiles, such as tcp://10.0.0.1:8786; they "
            "must see the same folders.",
        ),
    ] = None,
    recipe: Annotated[
        RecipeName | None,
        typer.Option("--recipe", help="Physical values, or the course's steps. \\[default: physical]"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse tiles that miss a date or band.")] = False,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave out tiles that cannot be read or do not fit, and list them."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Build the store afresh where it holds other settings.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and what it costs; write nothing.")
    ] = False,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    json: Json = False,
) -> None:
    """Write each tile once, in physical units and half precision, split into Train/, Val/ and Test/."""
    from esdseg.config.loading import load_config
    from esdseg.config.preprocessing import RECIPES, PreprocessConfig

    config = load_config(
        PreprocessConfig,
        config_file,
        {
            "--raw-dir": ("raw_dir", raw_dir),
            "--processed-dir": ("processed_dir", processed_dir),
            "--subtile-size": ("subtile_size", subtile_size),
            "--val-fraction": ("val_fraction", val_fraction),
            "--test-fraction": ("test_fraction", test_fraction),
            "--seed": ("seed", seed),
            "--workers": ("workers", workers),
            "--dask": ("dask", dask),
            "--recipe": ("recipe", RECIPES[recipe.value].model_dump() if recipe else None),
            "--strict": ("strict", strict or None),
            "--skip-bad": ("skip_bad", skip_bad or None),
        },
        assignments or (),
    )

    from esdseg.preprocessing.planning import plan
    from esdseg.preprocessing.preprocess import preprocess

    if dry_run:
        with progress("check") as advance:
            planned = plan(config, overwrite=overwrite, on_read=advance)
        if json:
            print_json(planned.to_json())
        else:
            _print_plan(planned)
        return
    with interruptible(GO_ON), progress("preprocess") as advance:
        result = preprocess(
            config,
            overwrite=overwrite,
            on_tile=advance,
            on_read=prefixed(advance, "verified"),
            on_cost=_print_cost,
        )
    for warning in result.warnings:
        print_warning(warning)
    if json:
        print_json(result.to_json())
        return
    _print_skipped(result.skipped)
    splits = ", ".join(f"{number} {split}" for split, number in result.splits.items() if number)
    print_line(
        f"{result.store}: {counted(len(result.written), 'tile')} written, {len(result.reused)} kept "
        f"({splits}); {result.num_channels} channels, {megabytes(result.bytes)}, {result.seconds:.1f} s."
    )
    print_line(f"Next: esdseg train --processed-dir {shlex.quote(str(config.processed_dir))}")


def _print_skipped(skipped: "Mapping[str, str]") -> None:
    if skipped:
        print_table(
            f"{counted(len(skipped), 'tile')} left out",
            ("tile", "what is wrong"),
            list(skipped.items()),
            texts=("what is wrong",),
        )


def _print_cost(cost: "Cost", warnings: tuple[str, ...]) -> None:
    print_note(f"Needs {needs(cost)}.")
    for warning in warnings:
        print_warning(warning)


def _print_plan(planned: "PreprocessPlan") -> None:
    for warning in planned.warnings:
        print_warning(warning)
    rows = [(tile.name, tile.split, tile.action) for tile in planned.tiles]
    print_table(f"{planned.store} would hold", ("tile", "split", "action"), rows, texts=("split", "action"))
    _print_skipped(planned.skipped)
    print_line(f"{counted(len(planned.channels), 'channel')}; {needs(planned.cost)}. Nothing was written.")
