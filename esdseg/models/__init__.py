"""The networks and their registry, the layer that normalises images before them, and their checkpoints."""

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
