from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from sklearn.metrics import f1_score, roc_auc_score
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_jaccard_index,
)

from esdseg.config.training import MONITORED_METRICS
from esdseg.metrics.torch_metrics import SegmentationMetrics
from esdseg.sensors.classes import CLASS_NAMES, UNKNOWN_LABEL

SUBTILES = 24


CLASS_SCORES = ("recall", "precision", "f1", "jaccard", "auc")


def random_batch(seed: int, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (SUBTILES, 4, 4), generator=generator)
    logits = torch.randn(SUBTILES, 4, 4, 4, generator=generator)
    logits += torch.nn.functional.one_hot(labels, 4).movedim(-1, 1)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = UNKNOWN_LABEL
    return logits, labels


def scored(
    logits: torch.Tensor, labels: torch.Tensor, batch_size: int
) -> tuple[dict[str, float], SegmentationMetrics]:
    metrics = SegmentationMetrics()
    for start in range(0, len(labels), batch_size):
        metrics.update(logits[start : start + batch_size], labels[start : start + batch_size])
    return metrics.compute(), metrics


@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_scores_do_not_depend_on_the_batch_size(batch_size: int, classes: int) -> None:
    logits, labels = random_batch(1, classes)

    assert scored(logits, labels, batch_size)[0] == pytest.approx(
        scored(logits, labels, SUBTILES)[0], abs=0, rel=0, nan_ok=True
    )


def test_scores_are_those_of_scikit_learn_and_torchmetrics() -> None:
    logits, labels = random_batch(2)
    scores, metrics = scored(logits, labels, 5)

    known = (labels != UNKNOWN_LABEL).numpy()
    truth, prediction = labels.numpy()[known], logits.argmax(dim=1).numpy()[known]
    probabilities = logits.softmax(dim=1).movedim(1, -1).numpy()[known]
    assert scores["accuracy"] == pytest.approx((truth == prediction).mean())
    assert scores["contest_f1"] == pytest.approx(f1_score(truth == 0, prediction == 0))
    assert scores["auc_macro"] == pytest.approx(
        roc_auc_score(np.eye(4)[truth], probabilities, average="macro"), abs=1e-6
    )
    settled = {"num_classes": 4, "ignore_index": UNKNOWN_LABEL}
    assert scores["f1_macro"] == pytest.approx(
        multiclass_f1_score(logits, labels, average="macro", **settled).item()
    )
    assert scores["jaccard_macro"] == pytest.approx(
        multiclass_jaccard_index(logits, labels, average="macro", **settled).item()
    )
    expected = multiclass_confusion_matrix(logits, labels, **settled).numpy()
    np.testing.assert_array_equal(metrics.confusion_matrix, expected)


def test_names_are_those_that_training_logs() -> None:
    logits, labels = random_batch(3)

    scores = scored(logits, labels, 8)[0]
    validated = [name.removeprefix("val_") for name in MONITORED_METRICS if name.startswith("val_")]
    assert set(scores) >= set(validated) - {"loss"}
    per_class = {f"{score}_{name}" for score in CLASS_SCORES for name in CLASS_NAMES}
    assert set(scores) - per_class == {"accuracy", "f1_macro", "jaccard_macro", "auc_macro", "contest_f1"}


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_reset_forgets_and_nothing_seen_is_undefined() -> None:
    logits, labels = random_batch(4)
    _, metrics = scored(logits, labels, 8)

    metrics.reset()

    assert metrics.confusion_matrix.sum() == 0
    assert all(np.isnan(value) for value in metrics.compute().values())


def test_bfloat16_logits_are_taken() -> None:
    logits, labels = random_batch(5)

    scores, _ = scored(logits.bfloat16(), labels, 8)

    assert scores["auc_macro"] == pytest.approx(scored(logits, labels, 8)[0]["auc_macro"], abs=0.01)


CASES = (1, 5)
"""Batches that two processes share: with one batch, the second process sees nothing."""


def score_share(rank: int, folder: Path) -> list[tuple[dict[str, float], list[list[int]]]]:
    """Score every case together with the other process, which meets this one through a file."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    results = []
    for batches in CASES:
        logits, labels = random_batch(6)
        metrics = SegmentationMetrics()
        for batch in range(rank, batches, 2):
            metrics.update(logits[batch::batches], labels[batch::batches])
        results.append((metrics.compute(), metrics.confusion_matrix.tolist()))
    dist.destroy_process_group()
    return results


def test_two_processes_score_as_one_even_where_one_has_seen_nothing(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        other = pool.submit(score_share, 1, tmp_path)
        results = [*score_share(0, tmp_path), *other.result()]

    expected, metrics = scored(*random_batch(6), SUBTILES)
    for scores, confusion in results:
        assert scores == pytest.approx(expected)
        np.testing.assert_array_equal(confusion, metrics.confusion_matrix)
