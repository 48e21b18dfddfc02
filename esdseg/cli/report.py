"""``esdseg report``: make the report of an evaluated run again."""

from typing import Annotated

import typer

from esdseg.cli.help import Subcommand
from esdseg.cli.options import Json, PredictionsDir
from esdseg.cli.output import print_json, print_line
from esdseg.cli.progress import progress


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(cls=Subcommand, epilog="Example: esdseg report first")(report)


def report(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="Name of a folder in predictions/ that evaluate wrote, or the path of such a folder.",
        ),
    ],
    predictions_dir: PredictionsDir = None,
    json: Json = False,
) -> None:
    """Make report.html again from the scores and maps in a folder of predictions."""
    with progress("report", "drawing"):
        from esdseg.scoring.results import make_report

        path = make_report(run, predictions_dir)
    if json:
        print_json({"report_path": str(path)})
        return
    print_line(f"Report:   {path}")
