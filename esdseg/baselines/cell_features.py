"""Statistics of the label cells of whole tiles, each tile described once for all models that need it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esdseg.baselines.cell_classifier import CellClassifier
from esdseg.baselines.cell_gathering import describe_subtile
from esdseg.datasets.dataset import SubtileDataset, stitch_subtiles
from esdseg.models.segmentation_model import SegmentationModel
from esdseg.sensors.channels import Channel
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.store import Store


@dataclass(frozen=True)
class TileCells:
    """The described cells of a tile, subtile by subtile, as training reads them.

    Attributes:
        features: Of each cell, (side, side, k, k, F) float32 with the subtiles' rows and columns first.
        labels: Class indices (side, side, k, k), int64; 255 is unknown.
    """

    features: Tensor
    labels: Tensor

    def known(self) -> tuple[Tensor, Tensor]:
        """Return features (cells, F) and class indices (cells,) of the cells whose class is known."""
        is_known = self.labels != UNKNOWN_LABEL
        return self.features[is_known], self.labels[is_known]


class CellFeatures:
    """Describes tiles when they are asked for, and keeps what it found.

    The features are those of stored values, on which no scale acts; so they are the same for every model and
    every fold.

    Args:
        store: The store.
        on_tile: Told the name of each tile that was described.
    """

    def __init__(self, store: Store, on_tile: Callable[[str], None]) -> None:
        self._store = store
        self._on_tile = on_tile
        self._kept: dict[tuple[str, tuple[Channel, ...]], TileCells] = {}

    @torch.inference_mode()
    def describe(self, tile: str, model: SegmentationModel, channels: Sequence[Channel]) -> TileCells:
        """Return a tile's cells as a model's own layers describe them.

        Args:
            tile: The tile's name.
            model: A model around a :class:`CellClassifier`, on the CPU.
            channels: The channels that it takes.

        Raises:
            InputDataError: The tile cannot be read.
        """
        key = (tile, tuple(channels))
        if key not in self._kept:
            dataset = SubtileDataset(self._store, [tile], channels)
            samples = [dataset[index] for index in range(len(dataset))]
            grid = (dataset.windows_per_side, dataset.windows_per_side)
            features = torch.stack([describe_subtile(model, *sample["pixels"]) for sample in samples])
            labels = torch.stack([sample["label"] for sample in samples])
            self._kept[key] = TileCells(
                features.reshape(*grid, *features.shape[1:]), labels.reshape(*grid, *labels.shape[1:])
            )
            self._on_tile(tile)
        return self._kept[key]


@torch.inference_mode()
def classify_tile(network: CellClassifier, cells: TileCells) -> Tensor:
    """Return a tile's class probabilities (4, 16, 16), float32."""
    grid = cells.features.shape[:-1]
    logits = network.classify_cells(cells.features.flatten(0, -2))
    probabilities = torch.softmax(logits.float(), dim=-1).reshape(*grid, -1)
    return stitch_subtiles(probabilities.movedim(-1, 2))
