from pathlib import Path

import pytest

from esdseg.preprocessing.tile_image import files_to_read
from esdseg.tiles.discovery import find_tiles
from tests.contest import channel_from_name
from tests.make_tiles import write_tile
from tests.tiles.conftest import FEW_DATES

NIGHTS = {"DNB_VNP46A1_A2020221.tif", "DNB_VNP46A1_A2020224.tif"}


@pytest.mark.parametrize(
    ("channels", "names"),
    [
        (["sentinel2_2020-08-16_B04"], {"L2A_20200816_B04.tif"}),
        (["viirs_DNB_max"], NIGHTS),
        (["viirs_2020-08-08_DNB", "sentinel1_2020-07-23_VV"], NIGHTS | {"S1A_IW_GRDH_20200723_VV.tif"}),
        (["sentinel1_2020-08-04_VV"], set()),
    ],
)
def test_only_files_of_the_channels_are_read_and_of_night_light_all_dates(
    channels: list[str], names: set[str], tmp_path: Path
) -> None:
    write_tile(tmp_path / "Tile1", dates=FEW_DATES)
    (tile,) = find_tiles(tmp_path)

    paths = files_to_read(tile, [channel_from_name(name) for name in channels])

    assert {path.name for path in paths} == names
