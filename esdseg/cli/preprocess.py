"""``esdseg preprocess``: turn raw tiles into the processed store."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.help import SettingsCommand
from esdseg.cli.options import (
    Address,
    Assignments,
    ConfigFile,
    Folder,
    Json,
    Number,
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
from esdseg.cli.progress import GO_ON, interruptible, prefixed, progress
from esdseg.system.memory import megabytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esdseg.preprocessing.planning import PreprocessPlan
    from esdseg.tiles.cost import Cost


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=SettingsCommand, epilog="Example: esdseg preprocess --raw-dir data/raw/Train --subtile-size 4"
    )(preprocess)


def preprocess(
    context: typer.Context,
    raw_dir: Folder = None,
    processed_dir: Folder = None,
    labels: Folder = None,
    sensors: Annotated[Path | None, typer.Option(metavar="FILE.yml")] = None,
    subtile_size: Whole = None,
    val_fraction: Number = None,
    test_fraction: Number = None,
    seed: Whole = None,
    workers: Whole = None,
    dask: Address = None,
    recipe: Annotated[str | None, typer.Option(metavar="physical|course")] = None,
    reflectance_offset: Annotated[str | None, typer.Option(metavar="CHOICE")] = None,
    strict: Annotated[bool | None, typer.Option("--strict")] = None,
    skip_bad: Annotated[bool | None, typer.Option("--skip-bad")] = None,
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
    from esdseg.config.preprocessing import PreprocessConfig

    config = load_settings(context, PreprocessConfig)

    if dry_run:
        with progress("preprocess") as advance:
            from esdseg.preprocessing.planning import plan

            planned = plan(config, overwrite=overwrite, on_read=advance)
        if json:
            print_json(planned.to_json())
        else:
            _print_plan(planned)
        return
    with interruptible(GO_ON), progress("preprocess") as advance:
        from esdseg.preprocessing.preprocess import preprocess

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
    for note in result.notes:
        print_line(f"Note: {note}")
    _print_skipped(result.skipped)
    splits = ", ".join(f"{number} {split}" for split, number in result.splits.items() if number)
    print_line(
        f"{result.store}: {counted(len(result.written), 'tile')} written, {len(result.reused)} kept "
        f"({splits}); {result.num_layers} layers, {megabytes(result.bytes)}, {result.seconds:.1f} s."
    )
    # Tiles without labels can be mapped, and nothing else.
    can_train = result.splits["train"] or result.splits["val"]
    command = "esdseg train" if can_train else "esdseg restitch --checkpoint RUN"
    print_command("Next", f"{command} --processed-dir {shlex.quote(str(config.processed_dir))}")


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
    for note in planned.notes:
        print_line(f"Note: {note}")
    _print_skipped(planned.skipped)
    print_line(f"{counted(len(planned.layers), 'layer')}; {needs(planned.cost)}. Nothing was written.")
