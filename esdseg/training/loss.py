"""The loss over label cells, a weighted sum of terms, and the loss of all cells of an epoch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.utilities.distributed import gather_all_tensors

from esdseg.config.training import LossConfig
from esdseg.sensors.classes import NUM_CLASSES, UNKNOWN_LABEL

LEAST_DOUBT = 1e-6
"""Doubt below which a cell's focal weight has no gradient: that of a root has none at 0."""

_VALUES_A_CELL = NUM_CLASSES + 1

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


def cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor, label_smoothing: float, q: float
) -> Tensor:
    """Compute the weighted mean over known cells of ``(1 - p^q) / q``, p being the probability of the label.

    It is the generalised cross-entropy of Zhang and Sabuncu 2018 (arXiv:1805.07836), and ``-log p`` where q
    is 0. PyTorch's own is NaN without a known cell.
    """
    if q == 0:
        loss_sum = F.cross_entropy(
            logits,
            labels,
            weight=weights,
            ignore_index=UNKNOWN_LABEL,
            label_smoothing=label_smoothing,
            reduction="sum",
        )
        return loss_sum / _weight_sum(labels, weights)
    known, own = labels != UNKNOWN_LABEL, _known_or_first(labels)
    losses = weights * -torch.expm1(q * F.log_softmax(logits, dim=1)) / q
    smoothed = (1 - label_smoothing) * losses.gather(1, own[:, None])[:, 0] + label_smoothing * losses.mean(
        dim=1
    )
    return (smoothed * known).sum() / _weight_sum(labels, weights)


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
                logits, labels, weights, config.label_smoothing, config.cross_entropy_q or 0.0
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


@dataclass(frozen=True)
class LossFault:
    """A loss that was not a finite number.

    Attributes:
        step: The first such step, counted from 0.
        tiles: Positions of the tiles of that step's batch.
    """

    step: int
    tiles: tuple[int, ...]


class LossTracker:
    """Keeps an epoch's cells on the device and notes the first loss that is not finite, waiting for nothing.

    A cell takes 20 bytes, a tile 5 kB.

    Args:
        tiles: How many tiles the batches come from.
        device: Where the losses are.
    """

    def __init__(self, tiles: int, device: torch.device) -> None:
        self._device = device
        # Flat, because a process that has seen no batch contributes an empty vector.
        self._cells: list[Tensor] = []
        self._in_fault = torch.zeros(tiles, device=device)
        self._fault_step = torch.full((), torch.inf, device=device)
        self._steps = 0

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor, tiles: Tensor) -> None:
        """Take in one batch: its loss, logits (N, 4, k, k), labels (N, k, k) and tiles' positions (N,)."""
        first = ~torch.isfinite(loss.detach()) & torch.isinf(self._fault_step)
        self._fault_step = torch.where(first, float(self._steps), self._fault_step)
        self._in_fault[tiles] = torch.maximum(self._in_fault[tiles], first.float())
        cells = torch.cat((logits.detach(), labels.unsqueeze(1).to(logits.dtype)), dim=1)
        self._cells.append(cells.movedim(1, -1).reshape(-1))
        self._steps += 1

    def fault(self) -> LossFault | None:
        """Return the first fault of all processes; all of them must ask, and the device is waited for."""
        in_fault, fault_step = self._in_fault.clone(), self._fault_step.clone()
        if _several_processes():
            torch.distributed.all_reduce(fault_step, op=torch.distributed.ReduceOp.MIN)
            # A faulty step spoils the weights of all processes; only the tiles of the earliest are to blame.
            in_fault *= self._fault_step == fault_step
            torch.distributed.all_reduce(in_fault)
        step = float(fault_step)
        if step == torch.inf:
            return None
        return LossFault(int(step), tuple(in_fault.nonzero().flatten().tolist()))

    def pooled(self, loss: SegmentationLoss) -> float:
        """Return the loss of all cells of all processes together; see :meth:`fault`."""
        cells = _flat(self._cells, self._device)
        if _several_processes():
            cells = torch.cat(gather_all_tensors(cells))
        values = cells.reshape(-1, _VALUES_A_CELL)
        return float(loss(values[:, :-1], values[:, -1].long()))


def _flat(cells: Sequence[Tensor], device: torch.device) -> Tensor:
    return torch.cat(list(cells)) if cells else torch.empty(0, device=device)


def _several_processes() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
