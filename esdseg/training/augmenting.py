"""From a stored batch to what the network is trained on."""

from collections.abc import Sequence

import torch
from torch import Tensor

from esdseg.config.training import AugmentationConfig
from esdseg.datasets.augmentation import augment_geometry, augment_values
from esdseg.datasets.channel_augmentation import draw_missing, drop_channels, jitter_bands, sensors_of
from esdseg.datasets.dataset import Batch
from esdseg.datasets.mixing import mix_cells
from esdseg.models.segmentation_model import SegmentationModel
from esdseg.sensors.channels import Channel
from esdseg.sensors.grid import CELL_SIZE_PX


class Augmentation:
    """Changes and normalises training batches.

    All that is drawn comes from one generator, and what is switched off neither draws nor costs anything.

    Args:
        config: Probabilities and strengths.
        channels: The channels of the images.
        memory_format: Order of the axes of new pixels in memory.
    """

    def __init__(
        self, config: AugmentationConfig, channels: Sequence[Channel], memory_format: torch.memory_format
    ) -> None:
        self._config = config
        self._sensors = sensors_of(channels)
        self._memory_format = memory_format

    def __call__(
        self, model: SegmentationModel, batch: Batch, generator: torch.Generator
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return normalised pixels, for :meth:`SegmentationModel.classify`, and labels (N, k, k)."""
        config, normalization = self._config, model.normalization
        channels = [grid.channels for grid in model.grids]
        pixels, labels = augment_geometry(
            batch["pixels"], batch["label"], config, generator, self._memory_format
        )
        mix_cells(pixels, labels, config, generator)
        jitter_bands(pixels, channels, normalization.shift, normalization.scale, config, generator)
        image_size_px = labels.shape[-1] * CELL_SIZE_PX
        pixels = augment_values(model.normalize(pixels), image_size_px, config, generator)
        missing = draw_missing(self._sensors, len(labels), config, generator)
        if missing is not None:
            # Last, for a sample without a date is to look as it would from a store without it.
            drop_channels(pixels, channels, missing, normalization.fill)
        return pixels, labels
