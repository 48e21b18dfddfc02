"""What a prediction starts from: a checkpoint, and a store that fits it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from esdseg.config.evaluation import PredictionConfig
from esdseg.config.preprocessing import Recipe
from esdseg.config.section import nearest_name
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import CheckpointMetadata, LoadedCheckpoint
from esdseg.prediction.calibration import Calibration
from esdseg.sensors.sensors import SENSOR_NAMES
from esdseg.store.store import Store, open_store

SHOWN_NAMES = 5
"""Channels or tiles listed in a message."""


@dataclass(frozen=True)
class Inputs:
    """Checkpoints that predict together, and a store that holds all that they need.

    Attributes:
        checkpoints: The loaded checkpoints, at least one; of several the mean of the probabilities counts.
        store: The store.
        output_dir: Folder for the results.
        calibration: What was fitted to what they say together; ``None`` where each one's own acts.
    """

    checkpoints: tuple[LoadedCheckpoint, ...]
    store: Store
    output_dir: Path
    calibration: Calibration | None = None

    @property
    def checkpoint(self) -> LoadedCheckpoint:
        """The only checkpoint, or the first of several."""
        return self.checkpoints[0]

    @property
    def temperature(self) -> float | None:
        """What acts on the probabilities; ``None`` where it is several checkpoints' own ones."""
        if self.calibration is not None:
            return self.calibration.temperature
        return self.checkpoint.metadata.temperature if len(self.checkpoints) == 1 else None

    @property
    def threshold(self) -> float | None:
        """The threshold on the probability of class 1; ``None`` where there is none for what is said here."""
        if self.calibration is not None:
            return self.calibration.threshold
        return self.checkpoint.metadata.contest_threshold if len(self.checkpoints) == 1 else None

    def only(self, places: Sequence[int]) -> "Inputs":
        """Return the same with some of the checkpoints."""
        return replace(self, checkpoints=tuple(self.checkpoints[place] for place in places))

    def trained(self) -> CheckpointMetadata:
        """Return what a checkpoint that was trained on all that any of these was would say of itself.

        Its channels and training tiles are those of all, each once; all else is the first one's.
        """
        metadata = [one.metadata for one in self.checkpoints]
        together: dict[str, object] = {
            "channels": tuple(dict.fromkeys(name for one in metadata for name in one.channels)),
            "train_tiles": tuple(dict.fromkeys(tile for one in metadata for tile in one.train_tiles)),
        }
        return metadata[0].model_copy(update=together)


def open_store_for(
    checkpoints: Sequence[LoadedCheckpoint], config: PredictionConfig, *, is_ensemble: bool
) -> Store:
    """Open the store that checkpoints predict from: that of the size which the first was trained on.

    Args:
        checkpoints: What predicts.
        config: Where the store is, and perhaps its size.
        is_ensemble: Whether these are several runs, which may have been trained on stores of several sizes;
            of one run, a size that it was not trained on is more likely a mistake.

    Raises:
        InputDataError: There is none, or its size is not that of the one run.
    """
    first = checkpoints[0]
    if not is_ensemble and config.subtile_size not in (None, first.subtile_size):
        raise InputDataError(
            f"{first.path} was trained on subtiles of {first.subtile_size} cells, not of "
            f"{config.subtile_size}; leave --subtile-size out, or train one with `esdseg train "
            f"--subtile-size {config.subtile_size}`."
        )
    return open_store(config.processed_dir, config.subtile_size or first.subtile_size)


def check_store(checkpoint: LoadedCheckpoint, store: Store) -> None:
    """Refuse a store without some of the checkpoint's channels, or of other steps (``InputDataError``)."""
    check_channels(checkpoint, store)
    check_recipe(checkpoint, store)


def check_channels(checkpoint: LoadedCheckpoint, store: Store) -> None:
    """Refuse a store without some of the checkpoint's channels (``InputDataError``)."""
    held = set(store.channels)
    missing = [channel.name for channel in checkpoint.channels if channel not in held]
    if missing:
        raise InputDataError(
            f"{store.path} lacks {len(missing)} of the {len(checkpoint.channels)} channels that "
            f"{checkpoint.path} was trained on: {shorten(missing)}. Write a store that holds them, from raw "
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
            raise InputDataError(f"{store.path} holds no tile '{name}'; {hint}Its tiles: {shorten(known)}.")
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


def tell_apart(checkpoints: Sequence[LoadedCheckpoint]) -> tuple[str, ...]:
    """Name each checkpoint by its run; where several would be called alike, by its file or its path too.

    So best and last of one run are ``first/best.ckpt`` and ``first/last.ckpt``.
    """
    runs = [one.run_name for one in checkpoints]
    files = [f"{one.run_name}/{one.path.name}" for one in checkpoints]
    names = [str(one.path) for one in checkpoints]
    for forms in (files, runs):
        names = [form if forms.count(form) == 1 else name for form, name in zip(forms, names, strict=True)]
    return tuple(names)


def shorten(names: Sequence[str]) -> str:
    """List names, the first of many only."""
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
