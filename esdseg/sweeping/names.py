"""The names that a sweep file may use for settings."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from esdseg.config.models import MODEL_CONFIGS
from esdseg.config.training import ESDConfig

SHORT_NAMES = {
    "model": "model.name",
    "model_name": "model.name",
    "model_type": "model.name",
    "processed_dir": "data.processed_dir",
    "subtile_size": "data.subtile_size",
    "tile_size_gt": "data.subtile_size",
    "selected_bands": "data.selected_bands",
    "batch_size": "data.batch_size",
    "calibrate": "trainer.calibrate",
    "num_workers": "data.num_workers",
    "max_epochs": "trainer.max_epochs",
    "epochs": "trainer.max_epochs",
    "patience": "trainer.patience",
    "seed": "trainer.seed",
    "accelerator": "trainer.accelerator",
    "precision": "trainer.precision",
    "devices": "trainer.devices",
    "learning_rate": "optimizer.learning_rate",
    "lr": "optimizer.learning_rate",
    "optimizer": "optimizer.name",
    "weight_decay": "optimizer.weight_decay",
    "momentum": "optimizer.momentum",
    "fold": "folds.fold",
    "buffer_km": "folds.buffer_km",
    "wandb": "tracking.wandb",
    "n_encoders": "model.n_encoders",
    "embedding_size": "model.embedding_size",
    "depth": "model.depth",
    "pool_sizes": "model.pool_sizes",
    "kernel_size": "model.kernel_size",
}
"""Names of train's flags and of the course's parameters, and the settings they stand for."""

FOLLOWING_FROM_DATA = ("in_channels", "out_channels")
"""Parameters of the course that are no settings here."""

DECIDED_BY_SWEEP = {
    "trainer.monitor": "the sweep's metric is what every trial monitors",
    "trainer.devices": "every trial uses one device; --workers N trains on several",
    "trainer.num_nodes": "every trial uses one machine; --storage URL joins several",
    "tracking.group": "the sweep's name groups the runs",
    "tracking.project": "write it as the file's own key project",
    "tracking.entity": "write it as the file's own key entity",
}
"""Settings that a sweep file may not name, each with the reason."""


def long_name(name: str) -> str:
    """Return the dotted name of a setting that may be named shortly."""
    return SHORT_NAMES.get(name, name)


def known_settings(models: Sequence[str]) -> tuple[str, ...]:
    """Return the dotted names of all settings of a run with one of the models."""
    names = [name for name in _leaves(ESDConfig, "") if not name.startswith("model.")]
    for model in models:
        names += _leaves(MODEL_CONFIGS[model], "model.")
    return tuple(dict.fromkeys(names))


def models_with(setting: str) -> tuple[str, ...]:
    """Return the models that have a setting such as ``model.n_encoders``."""
    key = setting.removeprefix("model.")
    return tuple(model for model, section in MODEL_CONFIGS.items() if key in section.model_fields)


def _leaves(section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _leaves(annotation, f"{prefix}{name}.")
        elif f"{prefix}{name}" != "model":
            yield f"{prefix}{name}"
