"""The loss of all cells of an epoch, and the first step at which it was no number."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from esdseg.sensors.classes import NUM_CLASSES
from esdseg.training.loss import SegmentationLoss

_VALUES_A_CELL = NUM_CLASSES + 1


@dataclass(frozen=True)
class Fault:
    """A loss that was no finite number.

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

    def fault(self) -> Fault | None:
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
        return Fault(int(step), tuple(in_fault.nonzero().flatten().tolist()))

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
