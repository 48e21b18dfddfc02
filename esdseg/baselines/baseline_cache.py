"""Fitted simple models and their predictions on disk, so that the next evaluation need not fit them again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor

from esdseg.config.models import AnyModelConfig
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import CheckpointMetadata
from esdseg.models.tensor_file import read_torch_file
from esdseg.sensors.classes import GRID_SIZE, NUM_CLASSES
from esdseg.system.files import make_folder, naming_write_faults, part_path, put_in_place
from esdseg.system.locks import waiting_writer

CACHE_FOLDER = ".baselines"
"""Below the folder of all predictions."""

CACHE_FORMAT = 1
"""Raised whenever the same settings would give another fit or other features."""

State = dict[str, Tensor]
"""A model's tensors by name."""

Maps = dict[str, Tensor]
"""Class probabilities (4, 16, 16) by tile."""


def cache_path(predictions_dir: Path, trained: CheckpointMetadata, models: Sequence[AnyModelConfig]) -> Path:
    """Return the file of the simple models that are fitted to a checkpoint's training tiles.

    Its name is a hash of all that the fits depend on: data, tiles in their order, channels, settings, class
    weights, seed, and the version of scikit-learn.
    """
    fitted_to = {
        "format": CACHE_FORMAT,
        "scikit-learn": version("scikit-learn"),
        "manifest": trained.manifest_hash,
        "subtile_size": trained.subtile_size,
        "train_tiles": trained.train_tiles,
        "channels": trained.channels,
        "models": [model.model_dump(mode="json") for model in models],
        "class_weights": trained.config.loss.class_weights,
        "seed": trained.config.trainer.seed,
    }
    digest = hashlib.sha256(json.dumps(fitted_to, sort_keys=True).encode()).hexdigest()
    return predictions_dir / CACHE_FOLDER / f"{digest[:32]}.pt"


def read_cache(path: Path) -> tuple[dict[str, State], dict[str, Maps]]:
    """Read fitted models and their maps, each by the model's name.

    A file that is missing or damaged gives nothing, and what in it is no tensor of the right kind is left
    out: all of it can be computed again.
    """
    try:
        content = read_torch_file(path, "cache of simple models")
    except InputDataError:
        return {}, {}
    if not isinstance(content, dict):
        return {}, {}
    states = {str(name): state for name, state in _entries(content, "states").items() if _is_state(state)}
    maps = {
        str(name): {str(tile): one for tile, one in by_tile.items() if _is_map(one)}
        for name, by_tile in _entries(content, "maps").items()
        if isinstance(by_tile, dict)
    }
    return states, maps


def write_cache(path: Path, states: Mapping[str, State], maps: Mapping[str, Maps]) -> None:
    """Write what :func:`read_cache` returns, beside the file first, then in its place.

    Raises:
        InputDataError: It cannot be written.
        MissingResourceError: There is no space left.
    """
    make_folder(path.parent)
    advice = "Or leave the simple models out with --no-simple-baselines."
    # Evaluations that run at the same time may write the same file.
    with naming_write_faults(path, part_path(path), advice=advice), waiting_writer(path.parent):
        torch.save(
            {"states": dict(states), "maps": {name: dict(one) for name, one in maps.items()}}, part_path(path)
        )
        put_in_place(path)


def _entries(content: dict[object, object], key: str) -> dict[object, object]:
    entries = content.get(key)
    return entries if isinstance(entries, dict) else {}


def _is_state(state: object) -> TypeGuard[State]:
    return isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())


def _is_map(one: object) -> TypeGuard[Tensor]:
    return (
        isinstance(one, Tensor)
        and one.dtype == torch.float32
        and one.shape == (NUM_CLASSES, GRID_SIZE, GRID_SIZE)
        and bool(torch.isfinite(one).all())
    )
