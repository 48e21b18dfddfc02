import pytest
import torch

from esdseg.config.training import LossTerms
from esdseg.training.loss_tracker import Fault, LossTracker
from tests.training.test_loss import loss_of, random_batch

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", LossTerms.model_fields)
@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_the_pooled_loss_does_not_know_of_batches(name: str, batch_size: int) -> None:
    logits, labels = random_batch(12)
    loss = loss_of({name: 1})
    tracker = LossTracker(1, CPU)
    for start in range(0, 12, batch_size):
        part = slice(start, start + batch_size)
        tiles = torch.zeros(len(labels[part]), dtype=torch.int64)
        tracker.update(loss(logits[part], labels[part]), logits[part], labels[part], tiles)
    assert tracker.pooled(loss) == pytest.approx(float(loss(logits, labels)), rel=1e-5)
    assert tracker.fault() is None


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
def test_the_first_fault_is_kept_with_its_tiles_alone(fault: float) -> None:
    logits, labels = random_batch(1)
    tracker = LossTracker(5, CPU)
    for value, tiles in ((1.0, [0, 1]), (fault, [3, 1, 3]), (float("nan"), [4, 2])):
        tracker.update(torch.tensor(value), logits, labels, torch.tensor(tiles))
    assert tracker.fault() == Fault(1, (1, 3))
