import numpy as np

from esdseg.sensors.classes import CLASSES, UNKNOWN_LABEL, UNKNOWN_RGB, label_grid_to_rgb


def test_label_grids_take_the_contests_colours() -> None:
    grid = np.array([[0, 1, 2], [3, UNKNOWN_LABEL, 0]], dtype=np.uint8)

    colors = label_grid_to_rgb(grid)

    assert colors.dtype == np.uint8
    assert colors.tolist() == [
        [[255, 0, 0], [0, 0, 255], [255, 255, 0]],
        [[178, 102, 255], list(UNKNOWN_RGB), [255, 0, 0]],
    ]


def test_codes_are_one_above_the_label_indices() -> None:
    assert [(label_class.code, label_class.index) for label_class in CLASSES] == [
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 3),
    ]


def test_the_safe_colours_are_of_okabe_and_itos_palette() -> None:
    palette = {"#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"}
    assert len({label_class.safe_color for label_class in CLASSES} & palette) == len(CLASSES)
