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


def bench(
    only: Annotated[
        list[Step] | None, typer.Option("--only", help="A step to measure; may be repeated.")
    ] = None,
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
    machine, data, rows = describe_machine(), BenchmarkData(data_dir, repeats), []
    for step in only or list(Step):
        for row in import_module(f"benchmarks.{step}").measure(data):
            rows.append(row)
            typer.echo(f"{row.step}: {row.what} ({row.against or row.unit}): {row.ratio:.3g}", err=True)
    print_rows(machine, rows)
    write_rows(output, machine, rows)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(bench)
    app()
