"""Simple models beside every score: fitted to the tiles that the scored network was trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from esdseg.baselines.baseline_cache import Maps, State, cache_path, read_cache, write_cache
from esdseg.baselines.cell_classifier import CellClassifier
from esdseg.baselines.cell_features import CellFeatures, classify_tile
from esdseg.baselines.cell_gathering import weigh_cells
from esdseg.config.models import AnyModelConfig, CellBoostingConfig, CellLogisticConfig
from esdseg.datasets.sampling import class_weights
from esdseg.errors import InputDataError
from esdseg.models.checkpoint import CheckpointMetadata
from esdseg.models.normalization import Normalization
from esdseg.models.registry import build_network, fit_to_cells
from esdseg.models.segmentation_model import SegmentationModel
from esdseg.models.tensor_file import describe_misfit
from esdseg.prediction.checkpoints import Ensemble, Sources
from esdseg.prediction.tile_prediction import TilePrediction
from esdseg.sensors.channels import Channel, channel_from_name
from esdseg.store.store import Store
from esdseg.system.processes import ItemListener

SIMPLE_MODELS: tuple[AnyModelConfig, ...] = (CellLogisticConfig(), CellBoostingConfig())
"""With their default settings, as `esdseg train --model NAME` fits them."""


@dataclass(frozen=True)
class SimplePredictions:
    """What the simple models say of the scored tiles.

    Attributes:
        by_model: The prediction of every scored tile by each model's name.
        why_none: Why there are none, in a sentence; ``None`` where there are some.
    """

    by_model: dict[str, tuple[TilePrediction, ...]]
    why_none: str | None = None


def predict_simple_models(
    scored: Sources, predictions_dir: Path, on_step: ItemListener | None = None
) -> SimplePredictions:
    """Fit the simple models to each checkpoint's training tiles, and predict the tiles it is scored on.

    Each gets the same tiles, channels, class weights and seed as the checkpoint, and is what ``esdseg train
    --model NAME`` makes of them. Where several checkpoints predict together, these are the tiles and channels
    of all, and the weights and the seed of the first. A model that is scored itself is left out.

    Args:
        scored: The checkpoints with their tiles.
        predictions_dir: Folder of all results; fitted models are kept in ``.baselines`` in it.
        on_step: Told of each tile that was described and each model that was fitted.

    Returns:
        Predictions in the order of ``scored.tiles``; or why the training tiles are not to be had.

    Raises:
        InputDataError: The fitted models cannot be written.
    """
    reason = _why_not(scored)
    if reason is not None:
        return SimplePredictions({}, reason)
    models = tuple(model for model in SIMPLE_MODELS if model.name != scored.model_names)
    fits = [_open_fit(part, predictions_dir) for part in scored.ensembles]
    progress = _Progress(sum(fit.steps(models) for fit in fits) + _unread_tiles(fits, models), on_step)
    features = CellFeatures(scored.store, progress.tell)
    predicted: dict[str, list[TilePrediction]] = {model.name: [] for model in models}
    for fit in fits:
        try:
            has_news = fit.complete(models, features, progress.tell)
        except InputDataError as error:
            return SimplePredictions({}, f"The simple models could not be fitted: {error}")
        if has_news:
            write_cache(fit.path, fit.states, fit.maps)
        for name, tiles in predicted.items():
            tiles += [
                TilePrediction(
                    tile,
                    scored.store.labels(tile),
                    fit.maps[name][tile].numpy(),
                    predicted_by=(str(fit.path),),
                )
                for tile in fit.part.tiles
            ]
    return SimplePredictions({name: tuple(tiles) for name, tiles in predicted.items()})


@dataclass
class _Fit:
    """The simple models of one checkpoint: what is known of them, and what is still to be done."""

    part: Ensemble
    path: Path
    states: dict[str, State] = field(default_factory=dict)
    maps: dict[str, Maps] = field(default_factory=dict)

    @property
    def trained(self) -> CheckpointMetadata:
        return self.part.trained()

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(channel_from_name(name) for name in self.trained.channels)

    def steps(self, models: Sequence[AnyModelConfig]) -> int:
        """Return how many models are to be fitted."""
        return sum(model.name not in self.states for model in models)

    def tiles_to_read(self, models: Sequence[AnyModelConfig]) -> tuple[str, ...]:
        """Return the tiles whose cells must be described."""
        training = self.trained.train_tiles if self.steps(models) else ()
        return training + tuple(tile for tile in self.part.tiles if self._lacking(tile, models))

    def complete(
        self, models: Sequence[AnyModelConfig], features: CellFeatures, tell: Callable[[str], None]
    ) -> bool:
        """Fit and predict what is missing; say whether anything was."""
        has_news = False
        for config in models:
            wanted = [tile for tile in self.part.tiles if self._lacking(tile, (config,))]
            if config.name in self.states and not wanted:
                continue
            has_news = True
            model = _build(config, self.channels, self.trained.subtile_size)
            network = model.network
            assert isinstance(network, CellClassifier)
            if config.name in self.states:
                network.load_state_dict(self.states[config.name])
            else:
                _fit(model, config, self.part.store, self.trained, self.channels, features)
                tell(config.name)
                # Maps in the file are those of another fit than this one.
                self.maps[config.name] = {}
                wanted = list(self.part.tiles)
            self.states[config.name] = network.state_dict()
            maps = self.maps.setdefault(config.name, {})
            for tile in wanted:
                maps[tile] = classify_tile(network, features.describe(tile, model, self.channels))
        return has_news

    def _lacking(self, tile: str, models: Sequence[AnyModelConfig]) -> bool:
        return any(
            model.name not in self.states or tile not in self.maps.get(model.name, {}) for model in models
        )


class _Progress:
    def __init__(self, total: int, listener: ItemListener | None) -> None:
        self._done, self._total, self._listener = 0, total, listener

    def tell(self, what: str) -> None:
        self._done += 1
        if self._listener is not None:
            self._listener(what, self._done, self._total)


def _open_fit(part: Ensemble, predictions_dir: Path) -> _Fit:
    trained = part.trained()
    channels = tuple(channel_from_name(name) for name in trained.channels)
    path = cache_path(predictions_dir, trained, SIMPLE_MODELS)
    states, maps = read_cache(path)
    fitting: dict[str, State] = {}
    for config in SIMPLE_MODELS:
        state = states.get(config.name)
        with torch.device("meta"):
            expected = build_network(config, channels, trained.subtile_size).state_dict()
        if state is not None and describe_misfit(state, expected) is None:
            fitting[config.name] = state
    return _Fit(part, path, fitting, maps)


def _unread_tiles(fits: Sequence[_Fit], models: Sequence[AnyModelConfig]) -> int:
    return len({(tile, fit.channels) for fit in fits for tile in fit.tiles_to_read(models)})


def _build(config: AnyModelConfig, channels: Sequence[Channel], subtile_size: int) -> SegmentationModel:
    network = build_network(config, channels, subtile_size)
    return SegmentationModel(Normalization.pass_through(len(channels)), network).eval()


@torch.inference_mode()
def _fit(
    model: SegmentationModel,
    config: AnyModelConfig,
    store: Store,
    trained: CheckpointMetadata,
    channels: Sequence[Channel],
    features: CellFeatures,
) -> None:
    """Fit a model to the checkpoints' training tiles, in the order in which training reads them."""
    cells = [features.describe(tile, model, channels).known() for tile in trained.train_tiles]
    weights = class_weights(trained.config.loss.class_weights, store.class_counts(trained.train_tiles))
    labelled = weigh_cells(
        torch.cat([described for described, _ in cells]),
        torch.cat([labels for _, labels in cells]),
        # Training keeps them in single precision.
        weights.astype(np.float32).astype(np.float64),
    )
    fit_to_cells(model.network, config, labelled, trained.config.trainer.seed)


def _why_not(scored: Sources) -> str | None:
    """Say why the simple models cannot be fitted to the training tiles, ``None`` where they can."""
    store = scored.store
    for checkpoint in (one for part in scored.ensembles for one in part.checkpoints):
        trained = checkpoint.metadata
        if trained.manifest_hash != store.manifest_hash:
            return (
                f"No simple models are scored beside: {store.path} (manifest {store.manifest_hash[:12]}) is "
                f"not the store that {checkpoint.path} was trained on ({trained.manifest_hash[:12]}), so its "
                "training tiles are not to be had. Score it on that store, or train on this one."
            )
        missing = [tile for tile in trained.train_tiles if tile not in store.manifest.tiles]
        if missing or not store.class_counts(trained.train_tiles).any():
            return (
                f"No simple models are scored beside: {_describe_lack(store, missing)} that "
                f"{checkpoint.path} was trained on."
            )
    return None


def _describe_lack(store: Store, missing: Sequence[str]) -> str:
    if not missing:
        return f"{store.path} has no labels of the tiles"
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return f"{store.path} lacks tiles ({', '.join(missing[:3])}{more})"
