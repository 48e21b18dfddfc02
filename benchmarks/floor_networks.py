"""The least that any program must do to train a network."""

from collections.abc import Mapping

import torch
from torch import Tensor

from esdseg.evaluation.device import Device
from esdseg.models import SegmentationModel
from esdseg.training.loss import cell_cross_entropy


def train_step(
    model: SegmentationModel,
    optimizer: torch.optim.Optimizer,
    batch: Mapping[str, Tensor],
    class_weights: Tensor,
    device: Device,
) -> None:
    """Take a training step on a batch that lies on the device as the store holds it."""
    optimizer.zero_grad()
    with device.autocast():
        logits = model(batch["image"])
    loss_sum, weight_sum = cell_cross_entropy(logits, batch["label"], class_weights, 0.0)
    torch.autograd.backward(loss_sum / weight_sum)
    optimizer.step()
