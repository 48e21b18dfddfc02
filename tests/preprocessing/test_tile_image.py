from pathlib import Path

import pytest

from esdseg.preprocessing.tile_image import files_to_read
from esdseg.tiles.discovery import find_tiles
from tests.make_tiles import write_tile
from tests.tiles.conftest import FEW_DATES

NIGHTS = {"DNB_VNP46A1_A2020221.tif", "DNB_VNP46A1_A2020224.tif"}


@pytest.mark.parametrize(
    ("bands", "names"),
    [
        (
            {"sentinel2": ["B04"]},
            {f"L2A_202008{day}_{b}.tif" for day in (11, 16) for b in ("B02", "B04", "B08")},
        ),
        ({"viirs": ["DNB_max"]}, NIGHTS),
        ({"viirs": ["DNB"], "sentinel1": ["VV"]}, NIGHTS | {"S1A_IW_GRDH_20200723_VV.tif"}),
        ({"landsat8": ["B4"]}, set()),
    ],
)
def test_only_files_of_the_bands_are_read_and_those_that_tell_the_sky(
    bands: dict[str, list[str]], names: set[str], tmp_path: Path
) -> None:
    write_tile(tmp_path / "Tile1", dates=FEW_DATES)
    (tile,) = find_tiles(tmp_path)

    paths = files_to_read(tile, bands)

    assert {path.name for path in paths} == names
