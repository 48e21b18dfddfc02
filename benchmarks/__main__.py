"""``make bench``: the whole table, or a part of it."""

import warnings
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from esdseg.system.tuning import tune_process

RESULTS = Path(__file__).with_name("results.json")


class Step(StrEnum):
    """What can be measured by itself: the modules of this folder that have a ``measure``."""

    PREPROCESSING = "preprocessing"
    LOADING = "loading"
    TRAINING = "training"
    EVALUATION = "evaluation"
    MAPPING = "mapping"
    COMMANDS = "commands"
    WHOLE_WAY = "whole-way"


BY_DEFAULT = tuple(step for step in Step if step is not Step.WHOLE_WAY)
"""The whole way takes a quarter of an hour and 10 GB of disk."""


def bench(
    only: Annotated[
        list[Step] | None,
        typer.Option("--only", help="A step to measure; may be repeated. All but whole-way unless given."),
    ] = None,
    tiles: Annotated[
        int, typer.Option("--tiles", min=5, help="How many sample tiles go the whole way.")
    ] = 60,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="How often each figure is taken.")] = 5,
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where tiles are kept.")] = Path("data/bench"),
    output: Annotated[Path, typer.Option("--output", help="The file of results.")] = RESULTS,
) -> None:
    """Measure each step of esdseg beside a plain course's way and beside the least there is to do."""
    # As every command does; it serves the other ways in the same process too.
    tune_process()
    # Imported here: processes that the steps start load this module too, and are measured.
    from benchmarks.data import BenchmarkData
    from benchmarks.machine import describe_machine
    from benchmarks.results import print_rows, write_rows

    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    machine, data, rows = describe_machine(), BenchmarkData(data_dir, repeats, tiles), []
    for step in only or BY_DEFAULT:
        for row in import_module(f"benchmarks.{step.replace('-', '_')}").measure(data):
            rows.append(row)
            typer.echo(f"{row.step}: {row.what} ({row.against or row.unit}): {row.ratio:.3g}", err=True)
    print_rows(machine, rows)
    write_rows(output, machine, rows)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(bench)
    app()
