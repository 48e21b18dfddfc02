import os
from pathlib import Path

import pytest

from esdseg.errors import InputDataError
from esdseg.system.locks import exclusive_writer


def test_a_second_writer_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with (
        exclusive_writer(tmp_path / "4x4", "go elsewhere"),
        pytest.raises(InputDataError, match=f"being written by process {os.getpid()} on "),
        exclusive_writer(tmp_path / "4x4", "go elsewhere"),
    ):
        pytest.fail("two writers at once")


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive_writer(tmp_path, "go elsewhere"):
        raise KeyError
    with exclusive_writer(tmp_path, "go elsewhere"):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputDataError, match="cannot be written to"),
        exclusive_writer(tmp_path / "file/4x4", "go elsewhere"),
    ):
        pytest.fail("there is no such folder")
