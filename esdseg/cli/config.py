"""``esdseg config``: show and validate configurations."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.options import Assignments, ConfigFile, Json
from esdseg.cli.output import print_json, print_line, print_text

if TYPE_CHECKING:
    from esdseg.config.section import Section


class Command(StrEnum):
    """The commands that take a configuration."""

    TRAIN = "train"
    PREPROCESS = "preprocess"
    EVALUATE = "evaluate"


ForCommand = Annotated[Command, typer.Option("--for", help="The command whose configuration it is.")]


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    group = typer.Typer(no_args_is_help=True)
    group.command(epilog="Example: esdseg config show --set model.name=fcn_resnet101")(show)
    group.command(epilog="Example: esdseg config validate recipes/demo.yml")(validate)
    app.add_typer(group, name="config", help="Show or validate a configuration.")


def show(
    for_command: ForCommand = Command.TRAIN,
    config_file: ConfigFile = None,
    assignments: Assignments = None,
    json: Json = False,
) -> None:
    """Print the resolved configuration as YAML: every key, and its value."""
    from esdseg.config.loading import dump_config, load_config

    resolved = load_config(_tree(for_command), config_file, assignments=assignments or ())
    if json:
        print_json(resolved.model_dump(mode="json"))
    else:
        print_text(dump_config(resolved).rstrip())


def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE.yml", help="The file to validate.")],
    for_command: ForCommand = Command.TRAIN,
    json: Json = False,
) -> None:
    """Say whether a configuration file is right, and if not, where and why (exit code 2)."""
    from esdseg.config.loading import load_config

    load_config(_tree(for_command), file)
    if json:
        print_json({"file": str(file), "command": for_command.value, "valid": True})
    else:
        print_line(f"{file} is a valid configuration for `esdseg {for_command.value}`.")


def _tree(command: Command) -> "type[Section]":
    from esdseg.config.evaluation import EvalConfig
    from esdseg.config.preprocessing import PreprocessConfig
    from esdseg.config.training import ESDConfig

    trees: dict[Command, type[Section]] = {
        Command.TRAIN: ESDConfig,
        Command.PREPROCESS: PreprocessConfig,
        Command.EVALUATE: EvalConfig,
    }
    return trees[command]
