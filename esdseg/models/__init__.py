"""The networks and their registry, the layer that normalises images before them, and their checkpoints."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esdseg.models.backbone import schedule_backbone
    from esdseg.models.cell_classifier import CellClassifier, LabelledCells
    from esdseg.models.checkpoint import (
        METADATA_KEY,
        MODEL_PREFIX,
        STATE_KEY,
        CheckpointMetadata,
        LoadedCheckpoint,
        load_checkpoint,
        read_metadata,
    )
    from esdseg.models.checkpoint_lookup import (
        BEST_NAME,
        LAST_NAME,
        fold_run_name,
        folds_name,
        resolve_checkpoint,
        resolve_folds,
    )
    from esdseg.models.normalization import Normalization
    from esdseg.models.registry import (
        REGISTRY,
        ModelSpec,
        build_network,
        check_model,
        fit_to_cells,
        is_fitted,
        load_pretrained,
    )
    from esdseg.models.run_history import HISTORY_COLUMNS, HISTORY_NAME, HistoryRow, read_history
    from esdseg.models.segmentation_model import SegmentationModel
    from esdseg.models.summary import ModelSummary, describe_model, describe_models
    from esdseg.models.sweep_lookup import find_sweep

__all__ = [
    "BEST_NAME",
    "HISTORY_COLUMNS",
    "HISTORY_NAME",
    "LAST_NAME",
    "METADATA_KEY",
    "MODEL_PREFIX",
    "REGISTRY",
    "STATE_KEY",
    "CellClassifier",
    "CheckpointMetadata",
    "HistoryRow",
    "LabelledCells",
    "LoadedCheckpoint",
    "ModelSpec",
    "ModelSummary",
    "Normalization",
    "SegmentationModel",
    "build_network",
    "check_model",
    "describe_model",
    "describe_models",
    "find_sweep",
    "fit_to_cells",
    "fold_run_name",
    "folds_name",
    "is_fitted",
    "load_checkpoint",
    "load_pretrained",
    "read_history",
    "read_metadata",
    "resolve_checkpoint",
    "resolve_folds",
    "schedule_backbone",
]

_HOMES = {
    "BEST_NAME": "checkpoint_lookup",
    "HISTORY_COLUMNS": "run_history",
    "HISTORY_NAME": "run_history",
    "LAST_NAME": "checkpoint_lookup",
    "METADATA_KEY": "checkpoint",
    "MODEL_PREFIX": "checkpoint",
    "REGISTRY": "registry",
    "STATE_KEY": "checkpoint",
    "CellClassifier": "cell_classifier",
    "CheckpointMetadata": "checkpoint",
    "HistoryRow": "run_history",
    "LabelledCells": "cell_classifier",
    "LoadedCheckpoint": "checkpoint",
    "ModelSpec": "registry",
    "ModelSummary": "summary",
    "Normalization": "normalization",
    "SegmentationModel": "segmentation_model",
    "build_network": "registry",
    "check_model": "registry",
    "describe_model": "summary",
    "describe_models": "summary",
    "find_sweep": "sweep_lookup",
    "fit_to_cells": "registry",
    "fold_run_name": "checkpoint_lookup",
    "folds_name": "checkpoint_lookup",
    "is_fitted": "registry",
    "load_checkpoint": "checkpoint",
    "load_pretrained": "registry",
    "read_history": "run_history",
    "read_metadata": "checkpoint",
    "resolve_checkpoint": "checkpoint_lookup",
    "resolve_folds": "checkpoint_lookup",
    "schedule_backbone": "backbone",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module when it is first asked for: finding a run does not need torch."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
