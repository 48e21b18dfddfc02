from pathlib import Path

import numpy as np
from PIL import Image

from esdseg.report.confusion_picture import draw_confusion_matrix, write_confusion_matrix

COUNTS = np.array([[30, 10, 0, 0], [5, 1200, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])


def test_every_count_stands_in_its_cell_with_its_share_of_the_true_class() -> None:
    axes = draw_confusion_matrix(COUNTS).axes[0]

    written: dict[tuple[int, int], list[str]] = {}
    for text in axes.texts:
        column, row = text.get_position()
        written.setdefault((round(row), round(column)), []).append(text.get_text())
    assert written[0, 0] == ["30", "75 %"]
    assert written[0, 1] == ["10", "25 %"]
    assert written[1, 1] == ["1,200", "100 %"]
    assert written[2, 3] == ["1", "25 %"]
    assert written[3, 0] == ["0", "–"]
    assert [label.get_text().splitlines()[-1] for label in axes.get_yticklabels()][:2] == [
        "40 cells",
        "1,205 cells",
    ]


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    with Image.open(write_confusion_matrix(tmp_path, COUNTS)) as picture:
        assert picture.format == "PNG"
