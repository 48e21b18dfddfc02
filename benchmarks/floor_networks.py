"""The least that any program must do to train a network."""

from collections.abc import Sequence

import torch
from torch import Tensor

from esdseg.models.checkpoint import SegmentationModel
from esdseg.prediction.windows import Device
from esdseg.sensors.classes import UNKNOWN_LABEL


def train_step(
    model: SegmentationModel,
    optimizer: torch.optim.Optimizer,
    pixels: Sequence[Tensor],
    labels: Tensor,
    device: Device,
) -> None:
    """Take a training step on a batch of stored pixels that the network takes, which lies on the device."""
    optimizer.zero_grad()
    with device.autocast():
        logits = model.classify_stored(pixels)
    loss = torch.nn.functional.cross_entropy(logits, labels, ignore_index=UNKNOWN_LABEL)
    torch.autograd.backward(loss)
    optimizer.step()
