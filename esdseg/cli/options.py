"""Options that several subcommands share, the setting behind each flag, and how settings are read."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

if TYPE_CHECKING:
    from esdseg.config.evaluation import PredictionConfig
    from esdseg.config.section import Section

Settings = TypeVar("Settings", bound="Section")
Prediction = TypeVar("Prediction", bound="PredictionConfig")

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.yml", help="YAML file; flags and --set win over it.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any configuration key; may be repeated."),
]
Checkpoints = Annotated[list[str] | None, typer.Option("--checkpoint", metavar="PATH")]
CheckpointsDir = Annotated[Path, typer.Option("--checkpoints-dir", help="Folder that holds the runs.")]
PredictionsDir = Annotated[Path | None, typer.Option(help="Folder of all results; predictions unless given.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes to use; one a core unless given.")
]


def settings_of(command: str) -> "type[Section]":
    """Return the class of a command's settings."""
    from esdseg.config.evaluation import AblationConfig, EvalConfig, RestitchConfig
    from esdseg.config.preprocessing import PreprocessConfig
    from esdseg.config.training import ESDConfig

    trees: dict[str, type[Section]] = {
        "preprocess": PreprocessConfig,
        "train": ESDConfig,
        "sweep": ESDConfig,
        "evaluate": EvalConfig,
        "restitch": RestitchConfig,
        "ablate": AblationConfig,
    }
    return trees[command]


def setting_names(command: str) -> dict[str, str]:
    """Return the key of the setting behind each flag that a command may have, and behind its argument."""
    from esdseg.config.training import SHORT_NAMES

    tree = settings_of(command)
    names = SHORT_NAMES if "trainer" in tree.model_fields else {name: name for name in tree.model_fields}
    flags = {f"--{name.replace('_', '-')}": key for name, key in names.items()}
    return {**flags, "--folds": "folds.fold", "CHECKPOINT": "checkpoint"}


class SettingsCommand(TyperCommand):
    """A subcommand whose flags take help and default from the settings behind them.

    They are looked up when help is shown, since the settings take longer to load than help to print.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help screen."""
        command = str(self.name)
        defaults, names = settings_of(command)(), setting_names(command)
        for parameter in self.params:
            key = names.get(_label(parameter))
            if key is not None and isinstance(parameter, (TyperOption, TyperArgument)):
                _describe(parameter, defaults, key)
        super().format_help(ctx, formatter)


def load_settings(
    context: typer.Context, tree: type[Settings], read: Mapping[str, object] = MappingProxyType({})
) -> Settings:
    """Read the settings of a command: ``--config``, then its flags, then ``--set``.

    Args:
        context: Of the command that runs.
        tree: The class of its settings.
        read: Values of parameters that are not taken as they were given, such as lists from texts.

    Raises:
        ConfigError: A value, key or file is wrong.
    """
    from esdseg.config.loading import load_config

    given = {**context.params, **read}
    keys = setting_names(str(context.command.name))
    flags = {
        label: (keys[label], given[str(parameter.name)])
        for parameter in context.command.params
        # An option that may be repeated is () where it was not given.
        if (label := _label(parameter)) in keys and given[str(parameter.name)] != ()
    }
    return load_config(tree, given["config_file"], flags, given["assignments"] or ())


def load_prediction_settings(
    context: typer.Context, tree: type[Prediction], read: Mapping[str, object] = MappingProxyType({})
) -> Prediction:
    """Read the settings of a command that predicts, and look for its checkpoints before torch is loaded.

    Raises:
        ConfigError: A value, key or file is wrong.
        InputDataError: There is no such checkpoint.
    """
    from esdseg.models.runs import require_runs

    config = load_settings(context, tree, read)
    if config.ensemble is None:
        require_runs(config.checkpoints, config.checkpoints_dir)
    return config


def comma_separated(text: str | None) -> list[str] | None:
    """Split a list such as ``Tile1,Tile2``."""
    return [word.strip() for word in text.split(",")] if text is not None else None


def _label(parameter: Any) -> str:
    """Return a parameter's flag, or an argument's name in capitals."""
    return parameter.opts[0] if isinstance(parameter, TyperOption) else str(parameter.name).upper()


def _describe(parameter: TyperOption | TyperArgument, defaults: "Section", key: str) -> None:
    """Give a parameter the help of the setting behind it, with the choices and the default."""
    *above, name = key.split(".")
    section = defaults
    for part in above:
        section = getattr(section, part)
    field, default = type(section).model_fields[name], getattr(section, name)
    text = parameter.help or " ".join((field.description or "").split())
    notes = []
    if get_origin(field.annotation) is Literal:
        notes.append(f"one of {', '.join(get_args(field.annotation))}")
    if default is True:
        notes.append(f"default: {name.replace('_', '-')}")
    elif isinstance(default, (int, float, str, Path)) and default is not False and not parameter.required:
        notes.append(f"default: {default}")
    text += f" [{'; '.join(notes)}]" if notes else ""
    # Brackets and double backticks are markup to whatever prints help, and to Sphinx.
    parameter.help = text.replace("``", "").replace("[", "\\[")
