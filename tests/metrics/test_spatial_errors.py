import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from esdseg.metrics.scorecard import Mistakes
from esdseg.metrics.scores import confusion_matrix
from esdseg.metrics.spatial_errors import add_up, class_errors, distance_to
from esdseg.sensors.classes import UNKNOWN_LABEL

GRIDS = arrays(np.uint8, (9, 9), elements=st.sampled_from([0, 1, 1, 2, 3, UNKNOWN_LABEL]))
PREDICTIONS = arrays(np.uint8, (9, 9), elements=st.sampled_from([0, 1, 1, 2, 3]))


def grid(text: str) -> npt.NDArray[np.uint8]:
    """A grid of class codes, ``?`` is unknown, as label indices."""
    rows = [[UNKNOWN_LABEL if code == "?" else int(code) - 1 for code in row] for row in text.split()]
    return np.array(rows, dtype=np.uint8)


def counts(mistakes: Mistakes) -> list[int]:
    assert sum(mistakes.by_distance.values()) == mistakes.cells
    return list(mistakes.by_distance.values())


def test_a_settlement_one_cell_off_is_told_from_a_village_missed() -> None:
    truth = grid("1222222 2222222 2222222 2222222 2222211 2222211")
    prediction = grid("2122222 2222222 2222222 2222222 2222222 2222222")

    errors = class_errors(truth, prediction, 0)

    # One cell at distance 1; of the village, four cells at least four cells away.
    assert counts(errors.missed) == [1, 0, 0, 4, 0]
    assert counts(errors.false) == [1, 0, 0, 0, 0]
    assert (errors.settlements.true, errors.settlements.wholly_missed) == (2, 2)
    assert (errors.settlements.predicted, errors.settlements.wholly_false) == (1, 1)


def test_a_settlement_of_which_a_cell_is_found_is_not_missed() -> None:
    truth, prediction = grid("1222 2122 2222"), grid("1222 2221 2221")

    errors = class_errors(truth, prediction, 0)

    assert (errors.settlements.true, errors.settlements.wholly_missed) == (1, 0)
    assert (errors.settlements.predicted, errors.settlements.wholly_false) == (2, 1)
    assert counts(errors.missed) == [1, 0, 0, 0, 0]
    assert counts(errors.false) == [0, 2, 0, 0, 0]


def test_with_nothing_to_measure_to_cells_are_counted_apart() -> None:
    errors = class_errors(grid("1122"), grid("2222"), 0)

    assert counts(errors.missed) == [0, 0, 0, 0, 2]
    assert errors.false.cells == 0


def test_unknown_cells_are_neither_missed_nor_false_nor_a_target() -> None:
    errors = class_errors(grid("1?222"), grid("21221"), 0)

    assert counts(errors.missed) == [0, 0, 0, 1, 0]
    assert counts(errors.false) == [0, 0, 0, 1, 0]


@given(arrays(np.bool_, (9, 9)).filter(lambda cells: bool(cells.any())))
def test_the_distance_is_that_of_the_nearest_cell_by_brute_force(cells: npt.NDArray[np.bool_]) -> None:
    everywhere = np.argwhere(np.ones_like(cells))
    expected = cdist(everywhere, np.argwhere(cells), metric="chebyshev").min(axis=1)

    np.testing.assert_array_equal(distance_to(cells).ravel(), expected)


@given(GRIDS, PREDICTIONS, st.integers(0, 3))
def test_all_mistakes_are_counted_once(
    truth: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8], class_index: int
) -> None:
    errors = class_errors(truth, prediction, class_index)

    confusion = confusion_matrix(truth, prediction)
    found = confusion[class_index, class_index]
    assert errors.missed.cells == confusion[class_index].sum() - found
    assert errors.false.cells == confusion[:, class_index].sum() - found


@given(GRIDS)
def test_a_right_map_has_no_mistakes(truth: npt.NDArray[np.uint8]) -> None:
    errors = class_errors(truth, truth, 0)

    assert errors.missed.cells == 0
    assert errors.false.cells == 0
    assert (errors.settlements.wholly_missed, errors.settlements.wholly_false) == (0, 0)


def test_tiles_add_up() -> None:
    one = class_errors(grid("1122"), grid("2222"), 0)
    other = class_errors(grid("1222"), grid("2122"), 0)

    both = add_up([one, other])

    assert counts(both.missed) == [1, 0, 0, 0, 2]
    assert counts(both.false) == [1, 0, 0, 0, 0]
    groups = both.settlements
    assert (groups.true, groups.wholly_missed, groups.predicted) == (2, 2, 1)
