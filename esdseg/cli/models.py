"""``esdseg models``: list the networks."""

import typer

from esdseg.cli.options import Json
from esdseg.cli.output import print_json, print_table


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(epilog="Example: esdseg models")(models)


def models(json: Json = False) -> None:
    """List the networks with their parameters and the cost of one forward pass."""
    from esdseg.models import describe_models

    rows = describe_models()
    if json:
        print_json({"models": [row.to_json() for row in rows]})
        return
    print_table(
        "Models (default settings, 100 channels, subtiles of 4 x 4 cells)",
        ("model", "parameters", "GFLOPs a subtile", "course's name", "what it is"),
        [
            (row.name, f"{row.parameters:,}", f"{row.flops / 1e9:.1f}", row.course_name, row.title)
            for row in rows
        ],
        texts=("course's name", "what it is"),
    )
