"""``esdseg models``: list the networks."""

from typing import Annotated

import typer

from esdseg.cli.help import Subcommand
from esdseg.cli.options import Json
from esdseg.cli.output import print_json, print_line, print_table
from esdseg.cli.progress import LOADING, progress

NO_MATCH_EXIT_CODE = 1


def register(app: typer.Typer) -> None:
    """Add the subcommand to the application."""
    app.command(
        cls=Subcommand,
        epilog="Example: esdseg models  |  esdseg models --name smp:unetplusplus/efficientnet-b3  |  "
        "esdseg models --zoo  |  esdseg models --match 'tu-convnext*'",
    )(models)


def models(
    name: Annotated[
        str | None, typer.Option("--name", metavar="MODEL", help="Describe this network alone.")
    ] = None,
    zoo: Annotated[
        bool, typer.Option("--zoo", help="List the decoders and encoders of smp:DECODER/ENCODER.")
    ] = False,
    match: Annotated[
        str | None,
        typer.Option(
            "--match",
            metavar="PATTERN",
            help="List the zoo's encoders of such names; timm's are listed by patterns such as 'tu-resnet*'.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the networks with their parameters and the cost of one forward pass."""
    if zoo or match is not None:
        _list_zoo(match or "*", json)
        return
    with progress("models", LOADING):
        from esdseg.config.loading import load_config
        from esdseg.config.training import ESDConfig
        from esdseg.config.zoo import ZOO_FORM
        from esdseg.models.registry import REGISTRY, describe_model, describe_models

        if name is None:
            rows = describe_models()
        else:
            rows = (describe_model(load_config(ESDConfig, flags={"--name": ("model.name", name)}).model),)
    if json:
        print_json({"models": [row.to_json() for row in rows], "zoo": ZOO_FORM})
        return
    table = [
        (
            row.name,
            "" if row.parameters is None else f"{row.parameters:,}",
            "" if row.flops is None else f"{row.flops / 1e9:.1f}",
            row.course_name,
            row.title,
        )
        for row in rows
    ]
    if name is None:
        table += [(ZOO_FORM, "", "", "", spec.title) for spec in REGISTRY if spec.name == ZOO_FORM]
    print_table(
        "Models (default settings, 100 channels, subtiles of 4 x 4 cells)",
        ("model", "parameters", "GFLOPs a subtile", "course's name", "what it is"),
        table,
        texts=("course's name", "what it is"),
    )


def _list_zoo(pattern: str, json: bool) -> None:
    with progress("models", LOADING):
        from esdseg.config.zoo import (
            ZOO_EXAMPLE,
            ZOO_FORM,
            decoder_names,
            encoder_names,
            nearest_encoders,
            weights_of,
        )

        decoders = decoder_names()
        weights = {encoder: weights_of(encoder) for encoder in encoder_names(pattern)}
        nearest = nearest_encoders(pattern) if not weights else []
    if json:
        encoders = [{"name": name, "weights": list(names)} for name, names in weights.items()]
        print_json({"form": ZOO_FORM, "decoders": list(decoders), "encoders": encoders, "nearest": nearest})
    elif not weights:
        print_line(f"No encoder is called '{pattern}'. The nearest names: {', '.join(nearest)}.")
    if not weights:
        raise typer.Exit(NO_MATCH_EXIT_CODE)
    if json:
        return
    print_table(
        f"Encoders of {ZOO_FORM}",
        ("encoder", "weights"),
        [(encoder, ", ".join(names)) for encoder, names in weights.items()],
        texts=("weights",),
    )
    print_line(
        f"Decoders: {', '.join(decoders)}. Such as --model {ZOO_EXAMPLE}. timm's encoders are named with "
        "tu- before their name; `esdseg models --match 'tu-*'` lists them. `esdseg models --name MODEL` says "
        "what a network costs, and whether its decoder goes with its encoder."
    )
