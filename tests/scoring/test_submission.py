"""What is handed in, from classes made by hand."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from pydantic import ValidationError

from esdseg.config.evaluation import RestitchConfig
from esdseg.errors import InputDataError
from esdseg.scoring.submission import check_submission, write_submission

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")

CLASSROOM = RestitchConfig(submission="classroom")
CONTEST = RestitchConfig(submission="contest")


@pytest.fixture(scope="module")
def classes() -> dict[str, npt.NDArray[np.uint8]]:
    """The classes of Tile1 to Tile19, in an order of no meaning."""
    generator = np.random.default_rng(0)
    numbers = generator.permutation(np.arange(1, 20))
    return {f"Tile{number}": generator.integers(0, 4, (16, 16), dtype=np.uint8) for number in numbers}


def test_the_table_has_a_row_a_cell_in_natural_order(
    classes: dict[str, npt.NDArray[np.uint8]], tmp_path: Path
) -> None:
    submission = write_submission(tmp_path, CLASSROOM, classes)
    assert submission is not None
    assert submission.path == tmp_path / "results.csv"
    assert submission.notes == ()
    with submission.path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["pixelId", "predictions"]
    assert len(rows) == 4864
    assert [int(pixel) for pixel, _ in rows] == list(range(4864))
    for tile, row, column in (("Tile1", 0, 0), ("Tile2", 3, 15), ("Tile10", 15, 1), ("Tile19", 15, 15)):
        pixel = (int(tile[4:]) - 1) * 256 + row * 16 + column
        assert rows[pixel] == [str(pixel), str(classes[tile][row, column])]


def test_cells_without_data_get_the_most_frequent_class_and_it_is_said(
    classes: dict[str, npt.NDArray[np.uint8]], tmp_path: Path
) -> None:
    gappy = {tile: labels.copy() for tile, labels in classes.items()}
    gappy["Tile2"][0, :3] = 255
    submission = write_submission(tmp_path, CLASSROOM, gappy)
    assert submission is not None
    assert submission.path.read_text().splitlines()[257:260] == ["256,1", "257,1", "258,1"]
    assert submission.notes[0].startswith(
        "3 cells of Tile2 have no data; the submission calls them no settle"
    )


def test_other_sets_of_tiles_are_refused_unless_told(
    classes: dict[str, npt.NDArray[np.uint8]], tmp_path: Path
) -> None:
    some = {tile: classes[tile] for tile in ("Tile7", "Tile10", "Tile3")}
    with pytest.raises(InputDataError, match=r"here are 3 tiles\. Preprocess .*--any-tiles"):
        check_submission(CLASSROOM, list(some))
    with pytest.raises(InputDataError, match=r"here are 17 tiles, without 4, 8\."):
        check_submission(CLASSROOM, [tile for tile in classes if tile not in ("Tile4", "Tile8")])
    with pytest.raises(InputDataError, match="here are 20 tiles"):
        check_submission(CONTEST, [*classes, "Tile20"])
    check_submission(CLASSROOM, list(classes))
    check_submission(RestitchConfig(), ["Tile7"])
    told = CLASSROOM.model_copy(update={"any_tiles": True})
    submission = write_submission(tmp_path, told, some)
    assert submission is not None
    rows = submission.path.read_text().splitlines()
    assert len(rows) == 1 + 3 * 256
    assert rows[1 + 2 * 256] == f"512,{classes['Tile10'][0, 0]}"
    assert submission.notes == ("Tiles are numbered from 1 in this order: Tile3, Tile7, Tile10.",)


def test_the_zip_holds_a_binary_map_a_tile(classes: dict[str, npt.NDArray[np.uint8]], tmp_path: Path) -> None:
    submission = write_submission(tmp_path, CONTEST, classes)
    assert submission is not None
    assert "organisers' rules are not known" in submission.notes[0]
    with zipfile.ZipFile(submission.path) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(f"{number}.tif" for number in range(1, 20))
        for number in (1, 12):
            with rasterio.open(io.BytesIO(archive.read(f"{number}.tif"))) as file:
                values = file.read()
            assert values.dtype == np.uint8
            np.testing.assert_array_equal(values, [classes[f"Tile{number}"] == 0])
    first = submission.path.read_bytes()
    write_submission(tmp_path, CONTEST, classes)
    assert submission.path.read_bytes() == first


def test_names_and_values_of_the_contests_maps_are_options(
    classes: dict[str, npt.NDArray[np.uint8]], tmp_path: Path
) -> None:
    config = RestitchConfig(
        submission="contest", contest_names="DFC_{number}_roi.tif", contest_values=(255, 7)
    )
    submission = write_submission(tmp_path, config, classes)
    assert submission is not None
    with (
        zipfile.ZipFile(submission.path) as archive,
        rasterio.open(io.BytesIO(archive.read("DFC_3_roi.tif"))) as file,
    ):
        np.testing.assert_array_equal(file.read(1), np.where(classes["Tile3"] == 0, 255, 7))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"submission": "contest", "contest_names": "map.tif"}, "use {number} once"),
        ({"submission": "contest", "contest_names": "{number}{0}.tif"}, "use {number} once"),
        ({"submission": "contest", "contest_values": (1, 300)}, "less than or equal to 255"),
        (
            {"submission": "classroom", "contest_names": "a{number}.tif"},
            "contest_names acts on --submission contest",
        ),
        ({"any_tiles": True}, "any_tiles acts on what is handed in"),
    ],
)
def test_settings_that_cannot_act_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RestitchConfig.model_validate(settings)
