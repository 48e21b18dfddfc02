"""Files are replaced as a whole."""

from pathlib import Path

import pytest

from esdseg.errors import InputDataError
from esdseg.system.files import part_path, write_text


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "run.yml"
    for text in ("first", "é\r\nsecond\n"):
        write_text(path, text)
        assert path.read_bytes() == text.encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.yml"
    write_text(path, "old")
    part_path(path).mkdir()

    with pytest.raises(InputDataError, match=r"run.yml cannot be written: Is a directory"):
        write_text(path, "new")

    assert path.read_text() == "old"


def test_the_part_lies_beside_so_that_renaming_is_atomic(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    assert part_path(path).parent == tmp_path
    assert part_path(path).name == ".metrics.csv.part"
