"""The least that any program must do to train a network."""

from collections.abc import Mapping

import torch
from torch import Tensor

from esdseg.classes import UNKNOWN_LABEL
from esdseg.evaluation.device import Device
from esdseg.models import SegmentationModel


def train_step(
    model: SegmentationModel,
    optimizer: torch.optim.Optimizer,
    batch: Mapping[str, Tensor],
    device: Device,
) -> None:
    """Take a training step on a batch that lies on the device as the store holds it."""
    optimizer.zero_grad()
    with device.autocast():
        logits = model(batch["image"])
    loss = torch.nn.functional.cross_entropy(logits, batch["label"], ignore_index=UNKNOWN_LABEL)
    torch.autograd.backward(loss)
    optimizer.step()
