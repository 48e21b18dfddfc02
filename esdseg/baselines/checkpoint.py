"""Checkpoints of the simple models, and the one function that opens a checkpoint of either kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esdseg.baselines.cell_features import STATISTICS, FloatArray, describe_cells
from esdseg.baselines.cell_models import CellModel, cell_model_from_arrays
from esdseg.config.models import CellModelConfig
from esdseg.errors import ESDSegError, InputDataError
from esdseg.models.checkpoint import (
    METADATA_KEY,
    CheckpointMetadata,
    LoadedCheckpoint,
    network_checkpoint,
    read_metadata,
)
from esdseg.models.tensor_file import read_torch_file

ARRAYS_KEY = "cell_model"
"""Where a simple model's arrays lie in a checkpoint, by name."""


@dataclass(frozen=True)
class BaselineCheckpoint(LoadedCheckpoint):
    """A simple model ready to predict, and where it comes from.

    Attributes:
        model: The fitted model.
    """

    model: CellModel

    @property
    def parameters(self) -> int:
        """How many numbers were fitted."""
        return self.model.parameters

    def predict(self, image: npt.NDArray[np.floating]) -> tuple[Tensor, Tensor]:
        """Return class probabilities (4, h, w) of the cells of an image, without and with the temperature.

        Args:
            image: The checkpoint's channels (C, 50h, 50w) as the store holds them; NaN is no data.
        """
        return self.predict_cells(describe_cells(image))

    def predict_cells(self, features: FloatArray) -> tuple[Tensor, Tensor]:
        """Return what :meth:`predict` does, of features (h, w, 3C) of cells."""
        logits = self._logits(features)
        return torch.softmax(logits, dim=0), torch.softmax(logits / self.metadata.temperature, dim=0)

    def logits(self, image: npt.NDArray[np.floating]) -> Tensor:
        """Return logits (4, h, w) of the cells of an image, which are logarithms of probabilities."""
        return self._logits(describe_cells(image))

    def _logits(self, features: FloatArray) -> Tensor:
        logarithms = self.model.log_probabilities(features.reshape(-1, features.shape[-1]))
        return torch.from_numpy(logarithms).reshape(*features.shape[:2], -1).movedim(-1, 0)


def open_checkpoint(path: Path, window_size: int | None = None) -> LoadedCheckpoint:
    """Read a checkpoint of ``esdseg train``, be it of a network or of a simple model.

    Only tensors and plain values are read (``weights_only=True``), and nothing is downloaded.

    Args:
        path: The file.
        window_size: Label cells along each side of the windows to predict; as in training unless given.

    Raises:
        InputDataError: The file is missing, is no checkpoint of esdseg, would run code, is of another format
            version, or does not hold the model that it describes.
        UsageError: The network cannot work on windows of ``window_size``.
    """
    content = read_torch_file(path, "checkpoint")
    metadata = read_metadata(content, path)
    config = metadata.config.model
    if not isinstance(config, CellModelConfig):
        return network_checkpoint(content, metadata, path, window_size)
    stored = content.get(ARRAYS_KEY) if isinstance(content, dict) else None
    if not isinstance(stored, dict) or not all(isinstance(values, Tensor) for values in stored.values()):
        raise InputDataError(
            f"{path}: holds no {config.name} in today's form; train it again, which takes seconds."
        )
    try:
        channels = metadata.read_channels()
        arrays = {str(name): values.numpy() for name, values in stored.items()}
        model = cell_model_from_arrays(config, arrays, len(STATISTICS) * len(channels))
    except (ESDSegError, ValueError) as error:
        raise InputDataError(f"{path}: does not hold the {config.name} it describes; {error}.") from None
    return BaselineCheckpoint(path, channels, metadata, window_size or metadata.trained_window_size, model)


def checkpoint_content(model: CellModel, metadata: CheckpointMetadata) -> dict[str, Any]:
    """Return what ``torch.save`` is to write of a fitted model, all of it tensors and plain values."""
    return {
        METADATA_KEY: metadata.model_dump(mode="json"),
        ARRAYS_KEY: {
            name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in model.arrays().items()
        },
    }
