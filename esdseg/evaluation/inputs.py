"""What a prediction starts from: a checkpoint, and a store that fits it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from esdseg.config import EvalConfig
from esdseg.config.preprocessing import Recipe
from esdseg.config.spelling import nearest_name
from esdseg.errors import InputDataError
from esdseg.models import LoadedCheckpoint, load_checkpoint, resolve_checkpoint
from esdseg.sensors import SENSOR_NAMES
from esdseg.store import Store, open_store

SHOWN_NAMES = 5
"""Channels or tiles listed in a message."""


@dataclass(frozen=True)
class Inputs:
    """A checkpoint and a store that holds all that it needs.

    Attributes:
        checkpoint: The loaded checkpoint.
        store: The store.
        output_dir: Folder for the results.
    """

    checkpoint: LoadedCheckpoint
    store: Store
    output_dir: Path


def open_inputs(config: EvalConfig) -> Inputs:
    """Load the checkpoint, open the store and see that they fit.

    Raises:
        InputDataError: One is missing or unreadable, or the store lacks what the checkpoint needs.
    """
    checkpoint = load_checkpoint(resolve_checkpoint(config.checkpoint, config.checkpoints_dir))
    if config.subtile_size not in (None, checkpoint.subtile_size):
        raise InputDataError(
            f"{checkpoint.path} was trained on subtiles of {checkpoint.subtile_size} cells, not of "
            f"{config.subtile_size}; leave --subtile-size out, or train one with `esdseg train "
            f"--subtile-size {config.subtile_size}`."
        )
    store = open_store(config.processed_dir, checkpoint.subtile_size)
    check_channels(checkpoint, store)
    check_recipe(checkpoint, store)
    name = config.name or checkpoint.config.model.folder_name
    return Inputs(checkpoint, store, config.predictions_dir / name)


def check_channels(checkpoint: LoadedCheckpoint, store: Store) -> None:
    """Refuse a store without some of the checkpoint's channels (``InputDataError``)."""
    held = set(store.channels)
    missing = [channel.name for channel in checkpoint.channels if channel not in held]
    if missing:
        raise InputDataError(
            f"{store.path} lacks {len(missing)} of the {len(checkpoint.channels)} channels that "
            f"{checkpoint.path} was trained on: {_shorten(missing)}. Write a store that holds them, from raw "
            f"tiles with these dates and without selecting bands or dates: `esdseg preprocess --raw-dir "
            f"RAW_DIR --processed-dir {store.path.parent} --subtile-size {store.subtile_size} --overwrite`; "
            "or train on this store."
        )


def check_recipe(checkpoint: LoadedCheckpoint, store: Store) -> None:
    """Refuse a store whose values were written by other steps than the checkpoint's (``InputDataError``)."""
    trained_on, stored = checkpoint.metadata.recipe, store.manifest.config.recipe
    differing = [
        f"{key} {mine!r} instead of {theirs!r}"
        for (key, theirs), mine in zip(
            _writing_steps(trained_on).items(), _writing_steps(stored).values(), strict=True
        )
        if mine != theirs
    ]
    if differing:
        raise InputDataError(
            f"{store.path} was written by another recipe than {checkpoint.path} was trained on: "
            f"{'; '.join(differing)}. Write it anew with the checkpoint's recipe (`esdseg preprocess "
            "--config FILE.yml --overwrite`, FILE.yml holding the recipe), or train on this store."
        )


def select_tiles(store: Store, names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the tiles to map: all of the store, or the named ones, each once.

    Raises:
        InputDataError: A named tile is not in the store.
    """
    known = tuple(store.manifest.tiles)
    if names is None:
        return known
    for name in names:
        if name not in store.manifest.tiles:
            nearest = nearest_name(name, known)
            hint = f"did you mean '{nearest}'? " if nearest else ""
            raise InputDataError(f"{store.path} holds no tile '{name}'; {hint}Its tiles: {_shorten(known)}.")
    return tuple(dict.fromkeys(names))


def _writing_steps(recipe: Recipe) -> dict[str, object]:
    """Return what shapes stored values: the scale of ``training_tiles`` is the network's own affair."""
    steps: dict[str, object] = {"scale_by": recipe.scale_by}
    for sensor in SENSOR_NAMES:
        own = recipe.steps(sensor)
        steps[f"{sensor}.smoothing_sigma_px"] = own.smoothing_sigma_px
        steps[f"{sensor}.clip_fraction"] = own.clip_fraction if recipe.scale_by == "tile" else None
        steps[f"{sensor}.gamma"] = own.gamma if recipe.scale_by == "tile" else None
    steps["rescale"] = recipe.rescale if recipe.scale_by == "tile" else None
    return steps


def _shorten(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
