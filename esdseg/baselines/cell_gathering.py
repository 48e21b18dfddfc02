"""From subtiles on disk to described cells, for models that are fitted in one go."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from esdseg.baselines.cell_classifier import CellClassifier, LabelledCells
from esdseg.datasets.dataset import SubtileDataset
from esdseg.models.segmentation_model import SegmentationModel
from esdseg.sensors.classes import UNKNOWN_LABEL

SubtileListener = Callable[[int, int], None]
"""Told of each described subtile: how many are done, and how many there are."""


@torch.inference_mode()
def known_cells(
    model: SegmentationModel,
    dataset: SubtileDataset,
    device: torch.device,
    on_subtile: SubtileListener | None = None,
) -> tuple[Tensor, Tensor]:
    """Describe all cells whose class is known, by the very layers that the model predicts with.

    Args:
        model: A model around a :class:`CellClassifier`, on the device.
        dataset: The subtiles.
        device: Where to compute.
        on_subtile: Told of each described subtile.

    Returns:
        Features (cells, 3C), float32, and class indices (cells,), int64, on the CPU, subtile by subtile.
    """
    features, labels = [], []
    for index in range(len(dataset)):
        sample = dataset[index]
        known = sample["label"] != UNKNOWN_LABEL
        if known.any():
            (image,) = sample["pixels"]
            features.append(describe_subtile(model, image.to(device))[known])
            labels.append(sample["label"][known])
        if on_subtile is not None:
            on_subtile(index + 1, len(dataset))
    return torch.cat(features), torch.cat(labels)


def describe_subtile(model: SegmentationModel, image: Tensor) -> Tensor:
    """Describe the cells of a stored image (C, 50k, 50k) as features (k, k, 3C), float32 on the CPU."""
    network = model.network
    assert isinstance(network, CellClassifier)
    features: Tensor = network.statistics(*model.normalize(model.sample(image.unsqueeze(0))))
    return features[0].cpu()


def weigh_cells(features: Tensor, labels: Tensor, class_weights: npt.NDArray[np.float64]) -> LabelledCells:
    """Give described cells the weights (4,) of their classes."""
    indices = labels.numpy()
    return LabelledCells(features.numpy(), indices, class_weights[indices])
