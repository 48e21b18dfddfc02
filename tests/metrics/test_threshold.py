import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from esdseg.metrics.threshold import best_threshold, f1_from_counts, threshold_counts
from esdseg.sensors.classes import UNKNOWN_LABEL


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cells=st.integers(1, 60), levels=st.sampled_from([2, 5, 1000]))
def test_no_other_threshold_gives_a_higher_f1(seed: int, cells: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.choice([0, 1, 2, UNKNOWN_LABEL], cells)
    scores = (generator.integers(0, levels + 1, cells) / levels).astype(np.float32)
    known = labels != UNKNOWN_LABEL
    best = best_threshold(labels, scores)
    if not (labels == 0).any():
        assert best is None
        return
    assert best is not None
    tried = [
        f1_score(labels[known] == 0, scores[known] >= threshold, zero_division=0)
        for threshold in np.concatenate([np.unique(scores), [0.0]])
    ]
    assert float(f1_from_counts(threshold_counts(labels, scores, best))) == pytest.approx(max(tried))
    assert 0 <= best <= 1


def test_the_threshold_lies_between_two_cells_and_calls_few_cells_class_1() -> None:
    assert best_threshold([0, 0, 1, 1], np.array([0.9, 0.6, 0.4, 0.1])) == pytest.approx(0.5)
    # From 0.8 on and from 0.2 on the F1 is 2/3 alike.
    assert best_threshold([0, 1, 1, 0], np.array([0.8, 0.6, 0.4, 0.2])) == pytest.approx(0.7)
    assert best_threshold([1, 0], np.array([0.9, 0.3])) == pytest.approx(0.15)


def test_without_any_class_1_the_f1_is_undefined() -> None:
    counts = threshold_counts([1, 2], np.array([0.1, 0.2]), 0.5)
    assert counts.tolist() == [0, 0, 0]
    assert np.isnan(f1_from_counts(counts))
