"""The ``esdseg preprocess`` commands that messages name: they make the same store, and endanger none."""

import json
import shlex
from functools import cache
from pathlib import Path

from esdseg.config.loading import load_sensors
from esdseg.config.preprocessing import RECIPES, PreprocessConfig, Recipe, SensorSteps
from esdseg.sensors.sensors import CONTEST_FILE, SensorTable
from esdseg.store.manifest import Manifest, StoreSettings

UNKNOWN_RAW_DIR = Path("RAW_DIR")
"""Stands in a command for the raw tiles of a store, which its manifest does not know. There is no such
folder, so that the command does nothing until it is filled in."""

UNKNOWN_SENSORS = Path("FILE.yml")
"""Stands in a command for the description of a store's sensors, where none that comes with esdseg is it."""


def preprocess_command(config: PreprocessConfig, *flags: str) -> str:
    """Return the command, in backquotes, that writes the store of ``config``.

    Folder and size are always spelt out; whatever else shapes a store where it is not the default.

    Args:
        config: The store's settings.
        flags: More flags, such as ``--overwrite``.
    """
    defaults = PreprocessConfig()
    parts = ["esdseg preprocess"]
    if config.raw_dir != defaults.raw_dir:
        parts.append(f"--raw-dir {shlex.quote(str(config.raw_dir))}")
    if config.labels is not None:
        parts.append(f"--labels {shlex.quote(str(config.labels))}")
    parts.append(f"--processed-dir {shlex.quote(str(config.processed_dir))}")
    if config.sensors is not None:
        parts.append(f"--sensors {shlex.quote(str(config.sensors))}")
    parts.append(f"--subtile-size {config.subtile_size}")
    if config.val_fraction != defaults.val_fraction:
        parts.append(f"--val-fraction {_shortest(config.val_fraction)}")
    if config.test_fraction != defaults.test_fraction:
        parts.append(f"--test-fraction {_shortest(config.test_fraction)}")
    if config.seed != defaults.seed:
        parts.append(f"--seed {config.seed}")
    if config.recipe != defaults.recipe:
        named = [name for name, recipe in RECIPES.items() if recipe == config.recipe]
        steps = config.recipe.model_dump(mode="json", exclude_defaults=True)
        parts.append(f"--recipe {named[0]}" if named else _assignment("recipe", steps))
    if config.reflectance_offset != defaults.reflectance_offset:
        parts.append(f"--reflectance-offset {config.reflectance_offset}")
    if config.selected_bands is not None:
        parts.append(_assignment("selected_bands", config.model_dump(mode="json")["selected_bands"]))
    if config.strict:
        parts.append("--strict")
    if config.skip_bad:
        parts.append("--skip-bad")
    return f"`{' '.join([*parts, *flags])}`"


def _shortest(fraction: float) -> str:
    """Write a fraction with all of its digits: a rounded one would be another setting."""
    return str(fraction).removesuffix(".0")


def _assignment(key: str, value: object) -> str:
    return f"--set {shlex.quote(f'{key}={json.dumps(value, ensure_ascii=False)}')}"


def settings_of(manifest: Manifest, processed_dir: Path) -> PreprocessConfig:
    """Return the settings that a store was made with, as far as its manifest knows them.

    Args:
        manifest: The store's manifest.
        processed_dir: Folder that holds the store.

    Returns:
        The settings, with :data:`UNKNOWN_RAW_DIR` as raw folder, and :data:`UNKNOWN_SENSORS` where the
        description of the sensors is the user's own. Label grids that lie apart, and whether tiles were
        left out by ``--strict``, no manifest says.
    """
    return PreprocessConfig(
        raw_dir=UNKNOWN_RAW_DIR,
        processed_dir=processed_dir,
        sensors=_description_of(manifest.sensors),
        subtile_size=manifest.config.subtile_size,
        val_fraction=manifest.split.val_fraction,
        test_fraction=manifest.split.test_fraction,
        seed=manifest.split.seed,
        skip_bad=bool(manifest.skipped),
        reflectance_offset=manifest.config.reflectance_offset,
        selected_bands=manifest.config.selected_bands,
        recipe=_given_recipe(manifest),
    )


def _description_of(sensors: SensorTable) -> Path | None:
    """Return what ``--sensors`` takes for a description; ``None`` for the contest's."""
    if sensors == load_sensors(None):
        return None
    shipped = (name for name, description in _shipped_descriptions().items() if description == sensors)
    return next(shipped, UNKNOWN_SENSORS)


@cache
def _shipped_descriptions() -> dict[Path, SensorTable]:
    """Return the descriptions that come with esdseg beside the contest's, by what ``--sensors`` takes."""
    files = (file for file in CONTEST_FILE.parent.glob("*.yml") if file != CONTEST_FILE)
    return {Path(file.stem): load_sensors(file) for file in files}


def _given_recipe(manifest: Manifest) -> Recipe:
    """Return the recipe that was asked for: a store keeps the steps of its own sensors, all spelt out."""
    for recipe in RECIPES.values():
        given = PreprocessConfig(recipe=recipe)
        if StoreSettings.of(given, manifest.sensors).recipe == manifest.config.recipe:
            return recipe
    stored = manifest.config.recipe
    idle = {name for name, steps in stored.sensors.items() if steps == SensorSteps()}
    return Recipe.model_validate(stored.model_dump(exclude=idle))


def rewrite_command(config: PreprocessConfig, *flags: str) -> str:
    """Return the command that writes a store again, and what the user is to fill in.

    Args:
        config: What the store's manifest knows of its settings; see :func:`settings_of`.
        flags: More flags, such as ``--overwrite``.

    Returns:
        The command in backquotes, and in brackets what its capitals stand for.
    """
    hints = [f"{UNKNOWN_RAW_DIR}: the raw tiles that the store was made from"]
    if config.sensors == UNKNOWN_SENSORS:
        hints.append(f"{UNKNOWN_SENSORS}: the description of its sensors")
    unknown = "--labels or --strict" if config.skip_bad else "--labels"
    hints.append(f"add {unknown} if it was made with it")
    return f"{preprocess_command(config, *flags)} ({'; '.join(hints)})"


def unread_store_command(config: PreprocessConfig, *flags: str) -> str:
    """Return the command that writes a store again of which no manifest can be read.

    Args:
        config: The folder and the size of subtiles.
        flags: More flags, such as ``--overwrite``.

    Returns:
        The command in backquotes, and in brackets what its capitals stand for.
    """
    command = preprocess_command(config.model_copy(update={"raw_dir": UNKNOWN_RAW_DIR}), *flags)
    return (
        f"{command} ({UNKNOWN_RAW_DIR}: the raw tiles that the store was made from; add the other settings "
        "that it was made with)"
    )
