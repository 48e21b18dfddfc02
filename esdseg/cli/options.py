"""Options that several subcommands share, the setting behind each flag, and how settings are read."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperOption

from esdseg.config.descriptions import SettingDescription, SettingsSource

if TYPE_CHECKING:
    from esdseg.config.evaluation import PredictionConfig
    from esdseg.config.section import Section
    from esdseg.config.training import ESDConfig

Settings = TypeVar("Settings", bound="Section")
Prediction = TypeVar("Prediction", bound="PredictionConfig")

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE.yml", help="YAML file of settings; flags and --set win over it."),
]
TrainingConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.yml",
        help="YAML file of settings, or a recipe of esdseg's own for a training, such as recipes/unet; flags "
        "and --set win over it.",
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any configuration key; may be repeated."),
]
Checkpoints = Annotated[list[str] | None, typer.Option("--checkpoint", metavar="PATH")]
CheckpointsDir = Annotated[
    Path, typer.Option("--checkpoints-dir", metavar="DIR", help="Folder that holds the runs.")
]
PredictionsDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of all results; predictions unless given.")
]
SensorsFile = Annotated[
    Path | None,
    typer.Option(
        "--sensors",
        metavar="FILE.yml",
        help="Describes the sensors, or s2-s1, which comes with esdseg; the contest's unless given.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Processes to use; one a core unless given."),
]
Whole = Annotated[int | None, typer.Option(metavar="N")]
Number = Annotated[float | None, typer.Option(metavar="X")]
Name = Annotated[str | None, typer.Option(metavar="NAME")]
Folder = Annotated[Path | None, typer.Option(metavar="DIR")]
Address = Annotated[str | None, typer.Option(metavar="ADDRESS")]
Reference = Annotated[str | None, typer.Option(metavar="EPSG:CODE")]
Bounds = Annotated[str | None, typer.Option(metavar="BOUNDS|FILE")]
"""Flags of settings, whose help is that of the setting."""


SETTINGS = {
    "cut": ("cutting", "CutConfig"),
    "preprocess": ("preprocessing", "PreprocessConfig"),
    "train": ("training", "ESDConfig"),
    "sweep": ("training", "ESDConfig"),
    "evaluate": ("evaluation", "EvalConfig"),
    "restitch": ("evaluation", "RestitchConfig"),
    "ablate": ("evaluation", "AblationConfig"),
    "adapt": ("evaluation", "AdaptConfig"),
    "predict": ("evaluation", "MapConfig"),
}
"""The module of ``esdseg.config`` and the class in it that hold the settings of a command."""


def settings_of(command: str) -> "type[Section]":
    """Return the class of a command's settings."""
    module, tree = SETTINGS[command]
    found: type[Section] = getattr(import_module(f"esdseg.config.{module}"), tree)
    return found


def described_settings(command: str) -> tuple[dict[str, str], dict[str, SettingDescription]]:
    """Return what the settings of a command mean, without loading them.

    Returns:
        The key of the setting behind each flag that the command may have, and behind its argument; and what
        each setting means, by its key.
    """
    module, tree = SETTINGS[command]
    source = SettingsSource("section", "models", module)
    described = source.describe(tree)
    names = source.constant("SHORT_NAMES") if module == "training" else {key: key for key in described}
    flags = {f"--{name.replace('_', '-')}": key for name, key in names.items()}
    arguments = {name.upper(): key for name, key in names.items()}
    return {**flags, **arguments, "--folds": "folds.fold", "RUN": "checkpoint"}, described


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
    keys, _ = described_settings(str(context.command.name))
    flags = {
        label: (keys[label], given[str(parameter.name)])
        for parameter in context.command.params
        # An option that may be repeated is () where it was not given.
        if (label := label_of(parameter)) in keys and given[str(parameter.name)] != ()
    }
    return load_config(tree, given["config_file"], flags, given["assignments"] or ())


def load_prediction_settings(
    context: typer.Context, tree: type[Prediction], read: Mapping[str, object] = MappingProxyType({})
) -> Prediction:
    """Read the settings of a command that predicts; look for checkpoints and store before torch is loaded.

    Raises:
        ConfigError: A value, key or file is wrong.
        InputDataError: There is no such checkpoint, store or tile, or a submission has other tiles.
    """
    from esdseg.config.evaluation import RestitchConfig
    from esdseg.models.runs import require_runs
    from esdseg.scoring.submission import check_submission
    from esdseg.store.store import require_store

    config = load_settings(context, tree, read)
    if config.ensemble is None:
        require_runs(config.checkpoints, config.checkpoints_dir)
    store = require_store(config.processed_dir, config.subtile_size)
    if store is not None and isinstance(config, RestitchConfig):
        check_submission(config, store.select(config.tiles))
    return config


def load_training_settings(context: typer.Context) -> "ESDConfig":
    """Read the settings of a training; look for its store, its name and the runs that it starts from.

    All this is done before torch is loaded.

    Raises:
        ConfigError: A value, key or file is wrong.
        InputDataError: There is no store, or no run to start from or to label tiles.
        UsageError: There is a run of that name.
    """
    from esdseg.config.section import PretrainedSection
    from esdseg.config.training import ESDConfig
    from esdseg.models.runs import check_name, check_new, fold_run_name, require_named_runs
    from esdseg.store.store import require_store

    given = context.params
    count, name = given["folds"], given["name"]
    config = load_settings(context, ESDConfig, {"folds": f"1/{count}" if count else None})
    if given["resume"] or is_further_process():
        return config
    require_store(config.data.processed_dir, config.data.subtile_size)
    if name is not None:
        check_name(name)
        folds = range(1, count + 1) if count else [config.folds.number] if config.folds.fold else []
        names = [fold_run_name(name, number, config.folds.count) for number in folds] or [name]
        for run in names:
            check_new(given["checkpoints_dir"] / run)
    require_named_runs(config, given["checkpoints_dir"])
    if isinstance(config.model, PretrainedSection):
        config.model.require_weights()
    return config


def is_further_process() -> bool:
    """Whether this is one of the processes that a training on several devices starts by the same command."""
    return os.environ.get("LOCAL_RANK", "0") != "0"


def comma_separated(text: str | None) -> list[str] | None:
    """Split a list such as ``Tile1,Tile2``."""
    return [word.strip() for word in text.split(",")] if text is not None else None


def label_of(parameter: Any) -> str:
    """Return a parameter's flag, or an argument's name in capitals."""
    return parameter.opts[0] if isinstance(parameter, TyperOption) else str(parameter.name).upper()
