"""Subtiles of a processed store as batches for training and prediction, and their augmentation."""

from esdseg.datasets.augmentation import augment_geometry, augment_values
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.datasets.dataset import Batch, Sample, SubtileDataset
from esdseg.datasets.tiling import stitch_subtiles

__all__ = [
    "Batch",
    "Sample",
    "SubtileDataModule",
    "SubtileDataset",
    "augment_geometry",
    "augment_values",
    "stitch_subtiles",
]
