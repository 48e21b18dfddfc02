"""Pretrained backbones that do not learn in the first epochs, so that new layers cannot spoil them."""

from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class PretrainedBackbone(Protocol):
    """What a network with a pretrained backbone offers."""

    frozen_backbone_epochs: int
    """Epochs at the start in which the backbone does not learn."""

    def freeze_backbone(self) -> None:
        """Let only the new layers learn."""

    def unfreeze_backbone(self) -> None:
        """Let all layers learn."""


def schedule_backbone(network: nn.Module, epoch: int) -> None:
    """Freeze or release a network's backbone at the start of an epoch, also after a resume.

    Args:
        network: Any network; one without a pretrained backbone is left as it is.
        epoch: The epoch that starts, counted from 0.
    """
    if not isinstance(network, PretrainedBackbone):
        return
    if epoch < network.frozen_backbone_epochs:
        network.freeze_backbone()
    else:
        network.unfreeze_backbone()
