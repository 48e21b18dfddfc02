import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from esdseg.metrics.confusion import confusion_matrix
from esdseg.metrics.spatial_errors import add_up, distance_to, spatial_errors
from esdseg.sensors.classes import UNKNOWN_LABEL

GRIDS = arrays(np.uint8, (9, 9), elements=st.sampled_from([0, 1, 1, 2, 3, UNKNOWN_LABEL]))
PREDICTIONS = arrays(np.uint8, (9, 9), elements=st.sampled_from([0, 1, 1, 2, 3]))


def grid(text: str) -> npt.NDArray[np.uint8]:
    """A grid of class codes, ``?`` is unknown, as label indices."""
    rows = [[UNKNOWN_LABEL if code == "?" else int(code) - 1 for code in row] for row in text.split()]
    return np.array(rows, dtype=np.uint8)


def test_a_settlement_one_cell_off_is_told_from_a_village_missed() -> None:
    truth = grid("1222222 2222222 2222222 2222222 2222211 2222211")
    prediction = grid("2122222 2222222 2222222 2222222 2222222 2222222")

    errors = spatial_errors(truth, prediction, 0)

    # One cell at distance 1; of the village, four cells at least four cells away.
    assert errors.missed.tolist() == [1, 0, 0, 4, 0]
    assert errors.false.tolist() == [1, 0, 0, 0, 0]
    assert (errors.patches, errors.patches_missed) == (2, 2)
    assert (errors.predicted_patches, errors.predicted_patches_false) == (1, 1)


def test_a_settlement_of_which_a_cell_is_found_is_not_missed() -> None:
    truth, prediction = grid("1222 2122 2222"), grid("1222 2221 2221")

    errors = spatial_errors(truth, prediction, 0)

    assert (errors.patches, errors.patches_missed) == (1, 0)
    assert (errors.predicted_patches, errors.predicted_patches_false) == (2, 1)
    assert errors.missed.tolist() == [1, 0, 0, 0, 0]
    assert errors.false.tolist() == [0, 2, 0, 0, 0]


def test_with_nothing_to_measure_to_cells_are_counted_apart() -> None:
    errors = spatial_errors(grid("1122"), grid("2222"), 0)

    assert errors.missed.tolist() == [0, 0, 0, 0, 2]
    assert errors.false.sum() == 0


def test_unknown_cells_are_neither_missed_nor_false_nor_a_target() -> None:
    errors = spatial_errors(grid("1?222"), grid("21221"), 0)

    assert errors.missed.tolist() == [0, 0, 0, 1, 0]
    assert errors.false.tolist() == [0, 0, 0, 1, 0]


@given(arrays(np.bool_, (9, 9)).filter(lambda cells: bool(cells.any())))
def test_the_distance_is_that_of_the_nearest_cell_by_brute_force(cells: npt.NDArray[np.bool_]) -> None:
    everywhere = np.argwhere(np.ones_like(cells))
    expected = cdist(everywhere, np.argwhere(cells), metric="chebyshev").min(axis=1)

    np.testing.assert_array_equal(distance_to(cells).ravel(), expected)


@given(GRIDS, PREDICTIONS, st.integers(0, 3))
def test_all_mistakes_are_counted_once(
    truth: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8], class_index: int
) -> None:
    errors = spatial_errors(truth, prediction, class_index)

    confusion = confusion_matrix(truth, prediction)
    found = confusion[class_index, class_index]
    assert errors.missed.sum() == confusion[class_index].sum() - found
    assert errors.false.sum() == confusion[:, class_index].sum() - found


@given(GRIDS)
def test_a_right_map_has_no_mistakes(truth: npt.NDArray[np.uint8]) -> None:
    errors = spatial_errors(truth, truth, 0)

    assert not errors.missed.any()
    assert not errors.false.any()
    assert (errors.patches_missed, errors.predicted_patches_false) == (0, 0)


def test_tiles_add_up() -> None:
    one = spatial_errors(grid("1122"), grid("2222"), 0)
    other = spatial_errors(grid("1222"), grid("2122"), 0)

    both = add_up([one, other])

    assert both.missed.tolist() == [1, 0, 0, 0, 2]
    assert both.false.tolist() == [1, 0, 0, 0, 0]
    assert (both.patches, both.patches_missed, both.predicted_patches) == (2, 2, 1)
