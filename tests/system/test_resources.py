"""What there is to take."""

import shutil
from pathlib import Path

import pytest

from esdseg.system.memory import available_memory_bytes, free_disk_bytes, megabytes


def test_some_memory_is_available_here() -> None:
    assert 2**20 < available_memory_bytes() < 2**50


def test_free_space_is_that_of_where_a_folder_would_be_made(tmp_path: Path) -> None:
    # Others write to the same disk meanwhile.
    assert free_disk_bytes(tmp_path / "a/b/c") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)


@pytest.mark.parametrize(("size", "words"), [(36e6, "36 MB"), (2.14e9, "2.1 GB"), (0, "0 MB")])
def test_sizes_are_worded_for_people(size: float, words: str) -> None:
    assert megabytes(size) == words
