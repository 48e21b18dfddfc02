import pytest
import torch

from esdseg.classes import UNKNOWN_LABEL
from esdseg.training.loss import LossTracker, cell_cross_entropy


def random_batch(samples: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (samples, 4, 4), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = UNKNOWN_LABEL
    return torch.randn((samples, 4, 4, 4), generator=generator), labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_quotient_of_the_sums_is_pytorchs_weighted_mean(smoothing: float) -> None:
    logits, labels = random_batch(6)
    weights = torch.tensor([0.5, 1.0, 4.0, 9.0])
    loss_sum, weight_sum = cell_cross_entropy(logits, labels, weights, smoothing)
    expected = torch.nn.CrossEntropyLoss(weights, ignore_index=UNKNOWN_LABEL, label_smoothing=smoothing)
    torch.testing.assert_close(loss_sum / weight_sum, expected(logits, labels))


@pytest.mark.parametrize("batch_size", [1, 4, 5, 12])
def test_the_pooled_loss_does_not_know_of_batches(batch_size: int) -> None:
    logits, labels = random_batch(12)
    weights = torch.tensor([0.5, 1.0, 4.0, 9.0])
    tracker = LossTracker(1, torch.device("cpu"))
    for start in range(0, 12, batch_size):
        part = slice(start, start + batch_size)
        sums = cell_cross_entropy(logits[part], labels[part], weights, 0.0)
        tracker.update(*sums, torch.zeros(len(labels[part]), dtype=torch.int64))
    loss_sum, weight_sum = cell_cross_entropy(logits, labels, weights, 0.0)
    assert tracker.pooled().mean == pytest.approx(float(loss_sum / weight_sum), rel=1e-5)
    assert tracker.pooled().fault_step is None


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
def test_the_first_fault_is_kept_with_its_tiles_alone(fault: float) -> None:
    tracker = LossTracker(5, torch.device("cpu"))
    one = torch.tensor(1.0)
    tracker.update(one, one, torch.tensor([0, 1]))
    tracker.update(torch.tensor(fault), one, torch.tensor([3, 1, 3]))
    tracker.update(torch.tensor(float("nan")), one, torch.tensor([4, 2]))
    pooled = tracker.pooled()
    assert (pooled.fault_step, pooled.fault_tiles) == (1, (1, 3))
