import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from esdseg.config.loading import load_config
from esdseg.config.training import ESDConfig, LossConfig, LossTerms
from esdseg.errors import ConfigError
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.training.loss import LossFault, LossTracker, SegmentationLoss

TERMS = tuple(LossTerms.model_fields)
WEIGHTS = torch.tensor([0.5, 1.0, 4.0, 9.0])

Cells = npt.NDArray[Any]


def loss_of(terms: dict[str, float], **constants: Any) -> SegmentationLoss:
    return SegmentationLoss(LossConfig.model_validate({"terms": terms, **constants}), WEIGHTS)


def random_batch(samples: int, seed: int = 0, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (samples, 4, 4), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = UNKNOWN_LABEL
    return torch.randn((samples, 4, 4, 4), generator=generator), labels


def known_cells(logits: Tensor, labels: Tensor) -> tuple[Cells, Cells]:
    """Probabilities (cells, 4) and labels (cells,) of the known cells, in double precision."""
    exponents = np.exp(logits.double().numpy())
    probabilities = np.moveaxis(exponents / exponents.sum(axis=1, keepdims=True), 1, -1)
    known = labels.numpy() != UNKNOWN_LABEL
    return probabilities[known], labels.numpy()[known]


def tversky_index(probabilities: Cells, truth: Cells, alpha: float, beta: float) -> float:
    """The mean over the classes present, in probabilities."""
    scores = []
    for label in np.unique(truth):
        ours, theirs = probabilities[truth == label, label], probabilities[truth != label, label]
        hit, missed, false = ours.sum(), (1 - ours).sum(), theirs.sum()
        scores.append(hit / (hit + alpha * false + beta * missed))
    return float(np.mean(scores))


def lovasz_softmax(probabilities: Cells, truth: Cells) -> float:
    """By its definition: the Lovasz extension of one minus intersection over union, over sets of mistakes."""
    losses = []
    for label in np.unique(truth):
        errors = np.where(truth == label, 1 - probabilities[:, label], probabilities[:, label])
        wanted = set(np.flatnonzero(truth == label).tolist())
        mistaken: set[int] = set()
        total, before = 0.0, 0.0
        for cell in np.argsort(-errors).tolist():
            mistaken.add(cell)
            now = 1 - len(wanted - mistaken) / len(wanted | mistaken)
            total += errors[cell] * (now - before)
            before = now
        losses.append(total)
    return float(np.mean(losses))


def focal(probabilities: Cells, truth: Cells, gamma: float) -> float:
    own = probabilities[np.arange(len(truth)), truth]
    weights = WEIGHTS.double().numpy()[truth]
    return float((weights * (1 - own) ** gamma * -np.log(own)).sum() / weights.sum())


REFERENCES: dict[str, tuple[dict[str, Any], Callable[[Cells, Cells], float]]] = {
    "dice": ({}, lambda p, t: 1 - tversky_index(p, t, 0.5, 0.5)),
    "tversky": (
        {"tversky_alpha": 0.2, "tversky_beta": 0.9},
        lambda p, t: 1 - tversky_index(p, t, 0.2, 0.9),
    ),
    "lovasz": ({}, lovasz_softmax),
    "focal": ({"focal_gamma": 1.5}, lambda p, t: focal(p, t, 1.5)),
}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_pytorchs_weighted_mean(smoothing: float) -> None:
    logits, labels = random_batch(6)
    expected = torch.nn.CrossEntropyLoss(WEIGHTS, ignore_index=UNKNOWN_LABEL, label_smoothing=smoothing)
    loss = loss_of({"cross_entropy": 1}, label_smoothing=smoothing)
    torch.testing.assert_close(loss(logits, labels), expected(logits, labels))


@pytest.mark.parametrize("classes", [4, 2])
@pytest.mark.parametrize("name", REFERENCES)
def test_terms_are_their_formulas_over_known_cells_and_present_classes(name: str, classes: int) -> None:
    constants, reference = REFERENCES[name]
    logits, labels = random_batch(3, classes=classes)
    expected = reference(*known_cells(logits, labels))
    assert float(loss_of({name: 1}, **constants)(logits, labels)) == pytest.approx(expected, rel=1e-5)


def test_terms_by_hand() -> None:
    """Two cells, each with probability 1/2 for its own class and for the other's."""
    logits = torch.tensor([[0.0, 0.0, -100.0, -100.0]]).T.reshape(1, 4, 1, 1).expand(1, 4, 1, 2)
    labels = torch.tensor([[[0, 1]]])
    values = {name: float(loss_of({name: 1})(logits, labels)) for name in TERMS}
    # Of each class: half a cell is hit, half missed, half false. Errors of 1/2 in both cells: either alone
    # would leave an overlap of 1/2 or 0, both together leave none.
    assert values == pytest.approx(
        {"cross_entropy": math.log(2), "focal": math.log(2) / 4, "dice": 0.5, "lovasz": 0.5, "tversky": 0.5},
        rel=1e-5,
    )


def test_a_loss_is_the_weighted_sum_of_its_terms() -> None:
    logits, labels = random_batch(5)
    parts = {name: float(loss_of({name: 1})(logits, labels)) for name in TERMS}
    wanted = {"cross_entropy": 1.0, "lovasz": 0.5, "tversky": 2.0}
    expected = sum(weight * parts[name] for name, weight in wanted.items())
    assert float(loss_of(wanted)(logits, labels)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_generalised_cross_entropy_is_that_of_its_definition(q: float, smoothing: float) -> None:
    logits, labels = random_batch(5)
    probabilities, truth = known_cells(logits, labels)
    targets = (1 - smoothing) * np.eye(4)[truth] + smoothing / 4
    weights = WEIGHTS.double().numpy()
    losses = (targets * weights * (1 - probabilities**q) / q).sum(axis=1)
    expected = losses.sum() / weights[truth].sum()
    loss = loss_of({"cross_entropy": 1}, cross_entropy_q=q, label_smoothing=smoothing)
    assert float(loss(logits, labels)) == pytest.approx(expected, rel=1e-5)


def test_generalised_cross_entropy_nears_the_usual_one_and_bounds_a_wrong_label() -> None:
    logits, labels = random_batch(5)
    plain, near = (loss_of({"cross_entropy": 1}, cross_entropy_q=q)(logits, labels) for q in (0, 1e-4))
    torch.testing.assert_close(near, plain, rtol=1e-3, atol=0)
    wrong = torch.tensor([[50.0, 0.0, 0.0, 0.0]])
    assert float(loss_of({"cross_entropy": 1}, cross_entropy_q=0.5)(wrong, torch.tensor([1]))) == 2.0


def test_focal_without_fading_is_cross_entropy() -> None:
    logits, labels = random_batch(5)
    plain, faded = (loss_of({name: 1}, focal_gamma=0)(logits, labels) for name in ("cross_entropy", "focal"))
    torch.testing.assert_close(faded, plain)


@pytest.mark.parametrize("name", TERMS)
def test_log_probabilities_are_logits_too(name: str) -> None:
    logits, labels = random_batch(5)
    loss = loss_of({name: 1})
    torch.testing.assert_close(loss(logits.log_softmax(dim=1), labels), loss(logits, labels))


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize(("gamma", "q"), [(0.5, 0.0), (2.0, 0.5)])
def test_gradients_are_finite_whatever_a_batch_lacks(name: str, gamma: float, q: float) -> None:
    logits, labels = random_batch(2)
    unknown, one_class = torch.full_like(labels, UNKNOWN_LABEL), torch.full_like(labels, 3)
    certain = torch.nn.functional.one_hot(one_class, 4).movedim(-1, 1) * 2000.0 - 1000
    for inputs, truth in (
        (logits, unknown),
        (logits, one_class),
        (certain, one_class),
        (-certain, one_class),
    ):
        leaf = inputs.clone().requires_grad_()
        value = loss_of({name: 1}, focal_gamma=gamma, cross_entropy_q=q)(leaf, truth)
        value.backward()
        assert value.isfinite()
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        if truth is unknown:
            assert value == 0
            assert not leaf.grad.any()


def test_a_sum_of_all_terms_is_zero_where_no_label_is_known() -> None:
    logits, labels = random_batch(2)
    leaf = logits.clone().requires_grad_()
    value = loss_of(dict.fromkeys(TERMS, 1.0))(leaf, torch.full_like(labels, UNKNOWN_LABEL))
    value.backward()
    assert value == 0
    assert leaf.grad is not None
    assert not leaf.grad.any()


@pytest.mark.parametrize("name", TERMS)
def test_one_step_along_the_gradient_lowers_the_loss(name: str) -> None:
    logits, labels = random_batch(4)
    loss = loss_of({name: 1})
    leaf = logits.clone().requires_grad_()
    loss(leaf, labels).backward()
    assert leaf.grad is not None
    moved = logits - 0.05 * leaf.grad / leaf.grad.norm()
    assert loss(moved, labels) < loss(logits, labels)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("loss.terms={lovas: 1}", "unknown key 'loss.terms.lovas'; did you mean 'loss.terms.lovasz'?"),
        ("loss.terms.dice=-1", "loss.terms.dice = -1: should be greater than or equal to 0"),
        ("loss.terms={dice: 0}", "no term has a weight above 0"),
    ],
)
def test_what_is_no_loss_is_refused(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load_config(ESDConfig, assignments=[assignment])
    assert message in str(refusal.value)


def test_named_terms_are_all_there_are() -> None:
    config = load_config(ESDConfig, assignments=["loss.terms={dice: 1, lovasz: 0.5}"])
    assert config.loss.terms == LossTerms(dice=1, lovasz=0.5)
    assert ESDConfig().loss.terms == LossTerms(cross_entropy=1)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_the_pooled_loss_does_not_know_of_batches(name: str, batch_size: int) -> None:
    logits, labels = random_batch(12)
    loss = loss_of({name: 1})
    tracker = LossTracker(1, torch.device("cpu"))
    for start in range(0, 12, batch_size):
        part = slice(start, start + batch_size)
        tiles = torch.zeros(len(labels[part]), dtype=torch.int64)
        tracker.update(loss(logits[part], labels[part]), logits[part], labels[part], tiles)
    assert tracker.pooled(loss) == pytest.approx(float(loss(logits, labels)), rel=1e-5)
    assert tracker.fault() is None


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
def test_the_first_fault_is_kept_with_its_tiles_alone(fault: float) -> None:
    logits, labels = random_batch(1)
    tracker = LossTracker(5, torch.device("cpu"))
    for value, tiles in ((1.0, [0, 1]), (fault, [3, 1, 3]), (float("nan"), [4, 2])):
        tracker.update(torch.tensor(value), logits, labels, torch.tensor(tiles))
    assert tracker.fault() == LossFault(1, (1, 3))
