from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esdseg.errors import InputDataError
from esdseg.report.satellite import SatellitePicture
from esdseg.report.satellite_file import read_satellite, write_satellite


def test_a_picture_comes_back_with_its_caption(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 800)[:, None, None], (800, 800, 3)).astype(np.uint8)

    path = write_satellite(tmp_path, SatellitePicture(ramp, "Sentinel-2, 2020-08-16, échelle"))
    read = read_satellite(tmp_path)

    assert path is not None
    assert path.stat().st_size < 200_000
    assert read is not None
    assert read.caption == "Sentinel-2, 2020-08-16, échelle"
    assert np.abs(read.rgb.astype(int) - ramp).max() < 8


def test_a_tile_without_a_picture_keeps_none_of_an_earlier_call(tmp_path: Path) -> None:
    write_satellite(tmp_path, SatellitePicture(np.zeros((800, 800, 3), np.uint8), ""))

    assert write_satellite(tmp_path, None) is None
    assert read_satellite(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_such_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "satellite.jpg"
    path.write_text("no picture")
    with pytest.raises(InputDataError, match=r"satellite\.jpg cannot be read .*esdseg evaluate"):
        read_satellite(tmp_path)
    Image.new("RGB", (40, 30)).save(path)
    with pytest.raises(InputDataError, match=r"of 40 x 30 px, not 800 x 800"):
        read_satellite(tmp_path)
