"""The loss over label cells: a weighted sum of terms, each over all cells at once."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esdseg.config.training import LossConfig
from esdseg.sensors.classes import NUM_CLASSES, UNKNOWN_LABEL

LEAST_DOUBT = 1e-6
"""Doubt below which a cell's focal weight has no gradient: that of a root has none at 0."""

Term = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps logits (cells, 4), labels (cells,) and class weights (4,) to a loss."""


class SegmentationLoss(nn.Module):
    """The loss that the settings describe.

    It is a function of all cells that it is given together: an epoch's loss is that of all its cells at once,
    never a mean of the batches' losses, which for the terms on regions would depend on the batch size.

    Args:
        config: Terms and their constants.
        class_weights: Weight of each class (4,) in ``cross_entropy`` and ``focal``.
    """

    class_weights: Tensor

    def __init__(self, config: LossConfig, class_weights: Tensor) -> None:
        super().__init__()
        # A buffer, to be where the logits are; checkpoints need none, for the weights follow from the store.
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._terms = [
            (weight, _build_term(name, config))
            for name, weight in config.terms.model_dump().items()
            if weight
        ]

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: Logits of images (N, 4, k, k) or of single cells (N, 4), float32.
            labels: Class indices (N, k, k) or (N,); 255 is left out.

        Returns:
            The weighted sum of the terms, a scalar; 0 with a gradient of zeros where no label is known.
        """
        cells, truth = logits.movedim(1, -1).reshape(-1, NUM_CLASSES), labels.reshape(-1)
        return torch.stack(
            [weight * term(cells, truth, self.class_weights) for weight, term in self._terms]
        ).sum()


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor, label_smoothing: float) -> Tensor:
    """Compute the weighted mean of the cross-entropy over known cells; PyTorch's own is NaN without any."""
    loss_sum = F.cross_entropy(
        logits,
        labels,
        weight=weights,
        ignore_index=UNKNOWN_LABEL,
        label_smoothing=label_smoothing,
        reduction="sum",
    )
    return loss_sum / _weight_sum(labels, weights)


def focal(logits: Tensor, labels: Tensor, weights: Tensor, gamma: float) -> Tensor:
    """Compute the weighted mean of ``-(1 - p)^gamma log p``, p being the probability of a cell's own class.

    Lin et al. 2017 (arXiv:1708.02002) for a softmax over classes. segmentation_models.pytorch has it for
    independent sigmoids alone, under which log-probabilities as logits could never be certain.
    """
    negative_log = F.cross_entropy(logits, labels, ignore_index=UNKNOWN_LABEL, reduction="none")
    doubt = (1 - torch.exp(-negative_log)).clamp_min(LEAST_DOUBT)
    own_weights = weights[_known_or_first(labels)]
    return (own_weights * doubt**gamma * negative_log).sum() / _weight_sum(labels, weights)


def _build_term(name: str, config: LossConfig) -> Term:
    match name:
        case "cross_entropy":
            return lambda logits, labels, weights: cross_entropy(
                logits, labels, weights, config.label_smoothing
            )
        case "focal":
            return lambda logits, labels, weights: focal(logits, labels, weights, config.focal_gamma)
        case "lovasz":
            return _lovasz_term()
        case "dice":
            return _overlap_term(0.5, 0.5)
        case _:
            return _overlap_term(config.tversky_alpha, config.tversky_beta)


def _overlap_term(alpha: float, beta: float) -> Term:
    """Return one minus the Tversky index, with halves the Dice index, averaged over the classes present."""
    from segmentation_models_pytorch.losses import MULTICLASS_MODE, TverskyLoss

    overlap = TverskyLoss(MULTICLASS_MODE, alpha=alpha, beta=beta, ignore_index=UNKNOWN_LABEL)

    def term(logits: Tensor, labels: Tensor, _weights: Tensor) -> Tensor:
        # The library counts an absent class as a perfect one, so that a batch weighs by how many it holds.
        classes = torch.arange(NUM_CLASSES, device=labels.device)
        present = (labels[:, None] == classes).any(dim=0).sum().clamp_min(1)
        loss: Tensor = overlap(logits, labels)
        return loss * NUM_CLASSES / present

    return term


def _lovasz_term() -> Term:
    from segmentation_models_pytorch.losses import MULTICLASS_MODE, LovaszLoss

    # Unlike the other terms it waits for the device, to learn which classes there are.
    lovasz = LovaszLoss(MULTICLASS_MODE, ignore_index=UNKNOWN_LABEL)

    def term(logits: Tensor, labels: Tensor, _weights: Tensor) -> Tensor:
        # The library returns no scalar where no label is known.
        if not (labels != UNKNOWN_LABEL).any():
            return logits.sum() * 0.0
        loss: Tensor = lovasz(logits, labels)
        return loss

    return term


def _known_or_first(labels: Tensor) -> Tensor:
    return torch.where(labels != UNKNOWN_LABEL, labels, 0)


def _weight_sum(labels: Tensor, weights: Tensor) -> Tensor:
    total = (weights[_known_or_first(labels)] * (labels != UNKNOWN_LABEL)).sum()
    return torch.where(total > 0, total, 1.0)
