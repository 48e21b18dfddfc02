"""The simple models beside every score: fitted to the tiles that the scored network was trained on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from esdseg.baselines.cell_features import CellFeatures, FloatArray
from esdseg.baselines.cell_models import CellModel, fit_cell_model
from esdseg.config.models import CellBoostingConfig, CellLogisticConfig, CellModelConfig
from esdseg.datasets.sampling import ClassWeighting, class_weights
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import CheckpointMetadata
from esdseg.models.tensor_file import read_torch_file
from esdseg.sensors.classes import GRID_SIZE, NUM_CLASSES
from esdseg.store.store import Store
from esdseg.system.files import naming_write_faults, part_path, put_in_place
from esdseg.system.locks import waiting_writer
from esdseg.system.processes import ItemListener, announcing, ignore

SIMPLE_MODELS: tuple[CellModelConfig, ...] = (CellLogisticConfig(), CellBoostingConfig())
"""With their default settings, as ``esdseg train --model NAME`` fits them."""

CACHE_FOLDER = ".baselines"
"""Below the folder of all predictions."""

CACHE_FORMAT = 2
"""Raised whenever the same settings would give another fit or other features."""

TileMaps = dict[str, FloatArray]
"""Class probabilities (4, 16, 16) by tile."""


def fit_baseline(
    config: CellModelConfig,
    store: Store,
    tiles: Sequence[str],
    weighting: ClassWeighting,
    seed: int,
    features: CellFeatures,
) -> CellModel:
    """Fit a simple model to the labelled cells of some tiles.

    Args:
        config: Its settings.
        store: Holds the labels.
        tiles: Names of the training tiles.
        weighting: How rare classes count.
        seed: Of what the fit draws at random.
        features: Describes the cells of the store's tiles.

    Raises:
        InputDataError: A tile cannot be read.
    """
    weights = class_weights(weighting, store.class_counts(tiles))
    return fit_cell_model(config, features.labelled(tiles, weights), seed)


@dataclass(frozen=True)
class BaselineTask:
    """The tiles to fit simple models to and to predict, copied from a network's checkpoint.

    Attributes:
        trained: What the checkpoint says of itself: training tiles, channels, class weights and seed.
        tiles: Names of the tiles to predict.
    """

    trained: CheckpointMetadata
    tiles: tuple[str, ...]


def predict_baselines(
    tasks: Sequence[BaselineTask],
    store: Store,
    predictions_dir: Path,
    on_step: ItemListener = ignore,
) -> dict[str, TileMaps]:
    """Fit the simple models to checkpoints' training tiles, and predict the tiles that these are scored on.

    Each is what ``esdseg train --model NAME`` makes of the same tiles. What they predict is kept in
    ``.baselines``, so that the next evaluation need not fit them again. Each tile is described once.

    Args:
        tasks: No tile is predicted in two.
        store: The store that the checkpoints were trained on; see :func:`why_no_baselines`.
        predictions_dir: Folder of all results.
        on_step: Receives each tile that is described and each model that is fitted.

    Returns:
        The maps of each model by its name.

    Raises:
        InputDataError: A tile cannot be read, or the predictions cannot be written.
    """
    paths = [_cache_path(predictions_dir, task) for task in tasks]
    kept = [read_cache(path, task.tiles) for path, task in zip(paths, tasks, strict=True)]
    new = [task for task, maps in zip(tasks, kept, strict=True) if maps is None]
    described = {
        (task.trained.channels, tile) for task in new for tile in (*_fitted_to(task, store), *task.tiles)
    }
    begin = announcing(on_step, len(described) + len(new) * len(SIMPLE_MODELS))
    features: dict[tuple[str, ...], CellFeatures] = {}
    predicted: dict[str, TileMaps] = {config.name: {} for config in SIMPLE_MODELS}
    for task, path, maps in zip(tasks, paths, kept, strict=True):
        if maps is None:
            trained = task.trained
            described_cells = features.setdefault(
                trained.channels, CellFeatures(store, trained.read_channels(), begin)
            )
            for tile in (*_fitted_to(task, store), *task.tiles):
                described_cells.of_tile(tile)
            maps = {}
            for config in SIMPLE_MODELS:
                begin(f"fitting {config.name}")
                model = fit_baseline(
                    config,
                    store,
                    _fitted_to(task, store),
                    trained.config.loss.class_weights,
                    trained.config.trainer.seed,
                    described_cells,
                )
                maps[config.name] = {
                    tile: _map_of(model, described_cells.of_tile(tile)) for tile in task.tiles
                }
            _write_cache(path, maps)
        for name, by_tile in maps.items():
            predicted[name].update(by_tile)
    return predicted


def why_no_baselines(trained: CheckpointMetadata, path: Path, store: Store) -> str | None:
    """Return why the simple models cannot be fitted to a checkpoint's training tiles.

    Args:
        trained: What the checkpoint says of itself.
        path: The checkpoint's file.
        store: The store that it is scored on.

    Returns:
        The reason in a sentence; ``None`` where they can be fitted.
    """
    if trained.manifest_hash != store.manifest_hash:
        return (
            f"No simple models are scored beside: {store.path} (manifest {store.manifest_hash[:12]}) is "
            f"not the store that {path} was trained on ({trained.manifest_hash[:12]}), so its training tiles "
            "are not there. Score it on that store, or train on this one."
        )
    missing = [tile for tile in trained.train_tiles if tile not in store.manifest.tiles]
    if not missing and store.class_counts(trained.train_tiles).any():
        return None
    lack = f"{store.path} has no labels of the tiles"
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        lack = f"{store.path} lacks tiles ({', '.join(missing[:3])}{more})"
    return f"No simple models are scored beside: {lack} that {path} was trained on."


def _fitted_to(task: BaselineTask, store: Store) -> tuple[str, ...]:
    """Return the training tiles that have labels, without those that ``data.pseudo_labels`` added."""
    return tuple(tile for tile in task.trained.train_tiles if store.class_counts([tile]).any())


def _map_of(model: CellModel, features: FloatArray) -> FloatArray:
    probabilities = model.predict_proba(features.reshape(GRID_SIZE**2, -1))
    return probabilities.T.reshape(NUM_CLASSES, GRID_SIZE, GRID_SIZE)


def _cache_path(predictions_dir: Path, task: BaselineTask) -> Path:
    """Return the file of some predictions, named by a hash of all that they depend on."""
    trained = task.trained
    depends_on = {
        "format": CACHE_FORMAT,
        "scikit-learn": version("scikit-learn"),
        "manifest": trained.manifest_hash,
        "train_tiles": trained.train_tiles,
        "tiles": sorted(task.tiles),
        "channels": trained.channels,
        "acquisitions": {name: choice.order for name, choice in trained.acquisitions.items()},
        "models": [config.model_dump(mode="json") for config in SIMPLE_MODELS],
        "class_weights": trained.config.loss.class_weights,
        "seed": trained.config.trainer.seed,
    }
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
    return predictions_dir / CACHE_FOLDER / f"{digest[:32]}.pt"


def read_cache(path: Path, tiles: Sequence[str]) -> dict[str, TileMaps] | None:
    """Return the kept maps, or ``None`` where there are none or the file is damaged."""
    try:
        content = read_torch_file(path, "cache of simple models")
    except InputDataError:
        return None
    maps: dict[str, TileMaps] = {}
    for config in SIMPLE_MODELS:
        by_tile = content.get(config.name) if isinstance(content, dict) else None
        if not isinstance(by_tile, dict) or not all(_is_map(by_tile.get(tile)) for tile in tiles):
            return None
        maps[config.name] = {tile: by_tile[tile].numpy() for tile in tiles}
    return maps


def _write_cache(path: Path, maps: Mapping[str, TileMaps]) -> None:
    advice = "Or leave the simple models out with --no-simple-baselines."
    with naming_write_faults(path, part_path(path), advice=advice):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Evaluations that run at the same time may write the same file.
        with waiting_writer(path.parent):
            content = {
                name: {tile: torch.from_numpy(np.ascontiguousarray(values)) for tile, values in tiles.items()}
                for name, tiles in maps.items()
            }
            torch.save(content, part_path(path))
            put_in_place(path)


def _is_map(values: object) -> bool:
    return (
        isinstance(values, Tensor)
        and values.dtype == torch.float32
        and values.shape == (NUM_CLASSES, GRID_SIZE, GRID_SIZE)
        and bool(torch.isfinite(values).all())
    )
