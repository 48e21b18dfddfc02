"""``esdseg compare``: put evaluated runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from esdseg.cli.help import Subcommand
from esdseg.cli.options import Json, PredictionsDir
from esdseg.cli.output import print_json, print_line, print_table
from esdseg.cli.progress import progress


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(cls=Subcommand, epilog="Example: esdseg compare first second --output picture.png")(compare)


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN",
            help="Names of folders in predictions/, or paths of such folders; the others are compared with "
            "the first.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE.png", help="The picture. [default: predictions/compare-A-B.png]"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Seed of the resampled tiles; 0 unless given.")
    ] = None,
    predictions_dir: PredictionsDir = None,
    json: Json = False,
) -> None:
    """Compare evaluated runs on the same tiles: scores, paired differences, size and time."""
    with progress("compare", "scores and pictures"):
        from esdseg.scoring.compare import compare

        comparison = compare(runs, predictions_dir, output, seed)
    if json:
        print_json(comparison.to_json())
        return
    for table in comparison.tables:
        print_table(table.title, table.header, table.rows)
    for note in comparison.notes:
        print_line(f"Note: {note}")
    print_line(f"Picture:  {comparison.picture}")
