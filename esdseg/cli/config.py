"""``esdseg config``: show and validate configurations."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esdseg.cli.help import Group, Subcommand
from esdseg.cli.options import Assignments, Json, TrainingConfigFile, settings_of
from esdseg.cli.output import print_json, print_line, print_note, print_text

if TYPE_CHECKING:
    from esdseg.config.section import Section
    from esdseg.config.training import ESDConfig
    from esdseg.sensors.sensors import SensorTable


class Command(StrEnum):
    """The commands that take a configuration."""

    TRAIN = "train"
    CUT = "cut"
    PREPROCESS = "preprocess"
    EVALUATE = "evaluate"
    RESTITCH = "restitch"
    ABLATE = "ablate"
    ADAPT = "adapt"
    PREDICT = "predict"


ARGUMENTS = {Command.CUT: {"SCENES": ("scenes", "SCENES"), "OUT": ("output", "OUT")}}
"""Settings that a command takes as arguments: in place of their values stand the names in its help."""

ForCommand = Annotated[
    Command, typer.Option("--for", metavar="COMMAND", help="The command whose configuration it is.")
]


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    group = typer.Typer(cls=Group)
    group.command(cls=Subcommand, epilog="Example: esdseg config show --set model.name=fcn_resnet101")(show)
    group.command(cls=Subcommand, epilog="Example: esdseg config validate recipes/demo.yml")(validate)
    app.add_typer(group, name="config", help="Show or validate a configuration.")


def show(
    for_command: ForCommand = Command.TRAIN,
    config_file: TrainingConfigFile = None,
    assignments: Assignments = None,
    sensors: Annotated[
        bool, typer.Option("--sensors", help="Print the description of the sensors instead of the settings.")
    ] = False,
    json: Json = False,
) -> None:
    """Print the values that will act, as YAML: every key that the command and the model use."""
    from esdseg.config.loading import dump_config, load_config, plain_values
    from esdseg.config.training import ESDConfig

    config: Section = load_config(
        settings_of(for_command), config_file, ARGUMENTS.get(for_command), assignments or ()
    )
    if sensors:
        config = _sensors_of(config)
    elif isinstance(config, ESDConfig):
        config = _resolved(config)
    if json:
        print_json(plain_values(config))
    else:
        print_text(dump_config(config).rstrip())


def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE.yml", help="The file to validate.")],
    for_command: ForCommand = Command.TRAIN,
    json: Json = False,
) -> None:
    """Say whether a configuration file is right, and if not, where and why (exit code 2)."""
    from esdseg.config.loading import load_config

    load_config(settings_of(for_command), file, ARGUMENTS.get(for_command))
    if json:
        print_json({"file": str(file), "command": for_command.value, "valid": True})
    else:
        print_line(f"{file} is a valid configuration for `esdseg {for_command.value}`.")


def _sensors_of(config: "Section") -> "SensorTable":
    """Return the description of sensors that acts: that of the file, of the store, or the contest's."""
    from esdseg.config.cutting import CutConfig
    from esdseg.config.evaluation import AdaptConfig, AreaConfig, NetworkPredictionConfig
    from esdseg.config.loading import load_sensors
    from esdseg.config.preprocessing import PreprocessConfig
    from esdseg.config.training import ESDConfig
    from esdseg.errors import InputDataError
    from esdseg.store.store import open_store

    if isinstance(config, CutConfig | PreprocessConfig):
        return load_sensors(config.sensors)
    if isinstance(config, AreaConfig) and config.sensors:
        return load_sensors(config.sensors)
    if isinstance(config, AdaptConfig):
        print_note("The sensors are those of the network; the contest's are shown.")
        return load_sensors(None)
    assert isinstance(config, ESDConfig | NetworkPredictionConfig)
    data = config.data if isinstance(config, ESDConfig) else config
    folder, size = data.processed_dir, data.subtile_size
    try:
        return open_store(folder, size).manifest.sensors
    except InputDataError:
        print_note(f"{folder} holds no store yet; the contest's sensors are shown.")
        return load_sensors(None)


def _resolved(config: "ESDConfig") -> "ESDConfig":
    """Fill in what the model and the store decide; a store that cannot be opened decides nothing yet."""
    from esdseg.errors import InputDataError
    from esdseg.store.store import open_store

    try:
        store = open_store(config.data.processed_dir, config.data.subtile_size)
    except InputDataError:
        if config.data.subtile_size is None:
            print_note(
                f"The store that is to be in {config.data.processed_dir} decides data.subtile_size, and what "
                "bands and dates there are."
            )
        return config.resolved(config.data.subtile_size)
    return config.resolved(store.subtile_size, store.channels)
