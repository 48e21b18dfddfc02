"""Cross-entropy over label cells, and its pooled running mean."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from esdseg.classes import UNKNOWN_LABEL


def cell_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Compute the weighted cross-entropy of a batch as a sum, so that batches can be pooled.

    Args:
        logits: Logits (N, 4, k, k).
        labels: Class indices (N, k, k); 255 is left out.
        weights: Weight of each class (4,).
        label_smoothing: Share of the target that is spread over all classes.

    Returns:
        The sum of the weighted losses, and the sum of the cells' weights; their quotient is PyTorch's mean.
    """
    loss_sum = F.cross_entropy(
        logits,
        labels,
        weight=weights,
        ignore_index=UNKNOWN_LABEL,
        label_smoothing=label_smoothing,
        reduction="sum",
    )
    known = labels != UNKNOWN_LABEL
    weight_sum = (weights[torch.where(known, labels, 0)] * known).sum()
    return loss_sum, weight_sum


@dataclass(frozen=True)
class PooledLoss:
    """What a :class:`LossTracker` has gathered, on the CPU.

    Attributes:
        mean: Mean over all cells by their weights; NaN without any.
        fault_step: The first step whose loss was no finite number, or ``None``.
        fault_tiles: Positions of the tiles of that step's batch.
    """

    mean: float
    fault_step: int | None
    fault_tiles: tuple[int, ...]


class LossTracker:
    """Pools losses on the device and notes the first one that is not finite, waiting for nothing.

    Args:
        tiles: How many tiles the batches come from.
        device: Where the losses are.
    """

    def __init__(self, tiles: int, device: torch.device) -> None:
        # One vector, so that processes pool all of it in one exchange: loss, weight, then per tile whether it
        # was in a faulty batch. The step is kept apart because the earliest counts, not the sum.
        self._sums = torch.zeros(2 + tiles, device=device)
        self._fault_step = torch.full((), torch.inf, device=device)
        self._steps = 0

    def update(self, loss_sum: Tensor, weight_sum: Tensor, tiles: Tensor) -> None:
        """Take in one batch, with the positions (N,) of its samples' tiles."""
        faulty = ~torch.isfinite(loss_sum.detach())
        first = faulty & torch.isinf(self._fault_step)
        self._fault_step = torch.where(first, float(self._steps), self._fault_step)
        self._sums[:2] += torch.stack([loss_sum.detach(), weight_sum])
        self._sums[2 + tiles] = torch.maximum(self._sums[2 + tiles], first.float())
        self._steps += 1

    def pooled(self) -> PooledLoss:
        """Return what was gathered over all processes; all of them must ask, and the device is waited for."""
        sums, fault_step = self._sums.clone(), self._fault_step.clone()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(fault_step, op=torch.distributed.ReduceOp.MIN)
            # A faulty step spoils the weights of all processes; only the tiles of the earliest are to blame.
            sums[2:] *= self._fault_step == fault_step
            torch.distributed.all_reduce(sums)
        loss, weight, *in_fault = sums.tolist()
        step = float(fault_step)
        return PooledLoss(
            mean=loss / weight if weight else float("nan"),
            fault_step=None if step == torch.inf else int(step),
            fault_tiles=tuple(position for position, share in enumerate(in_fault) if share),
        )
