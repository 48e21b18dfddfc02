from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esdseg.errors import InputDataError
from esdseg.report.satellite import (
    NO_DATA_GREY,
    SatellitePicture,
    clearest_date,
    read_satellite,
    read_satellite_picture,
    stretch,
    true_color_candidates,
    write_satellite,
)
from esdseg.sensors.channels import Layer
from tests.contest import layer_from_name
from tests.datasets.make_store import make_store


def channels(*names: str) -> tuple[Layer, ...]:
    return tuple(layer_from_name(name) for name in names)


def test_candidates_are_whole_triples_of_the_finest_sensor_in_red_green_blue_order() -> None:
    table = channels(
        *(f"sentinel2_2020-08-11_{band}" for band in ("B02", "B03", "B04")),
        *(f"sentinel2_2020-08-16_{band}" for band in ("B02", "B04")),
        *(f"landsat8_2020-08-14_{band}" for band in ("B2", "B3", "B4")),
    )

    assert true_color_candidates(table, range(8)) == [(2, 1, 0)]
    assert true_color_candidates(table, range(3, 8)) == [(7, 6, 5)]
    assert true_color_candidates(table, range(7)) == [(2, 1, 0)]
    assert true_color_candidates(table, [0, 1]) == []


def test_the_clearest_date_is_not_the_cloudy_nor_the_hazy_nor_the_empty() -> None:
    generator = np.random.default_rng(0)
    clear = generator.normal(0.06, 0.01, (3, 100, 100)).astype(np.float16)
    cloudy = clear.copy()
    cloudy[:, :30, :30] = 0.6
    hazy = clear + np.float16(0.05)
    empty = clear.copy()
    empty[:, :50] = np.nan

    assert clearest_date([cloudy, hazy, clear, empty]) == 2
    assert clearest_date([empty, cloudy]) == 1


def test_a_stretch_runs_from_black_at_2_to_full_at_98_percent() -> None:
    ramp = np.linspace(5, 9, 10_000, dtype=np.float16).reshape(1, 100, 100)

    shades = stretch(ramp)

    assert shades.shape == (100, 100, 1)
    assert (shades == 0).mean() == pytest.approx(0.02, abs=0.005)
    assert (shades == 255).mean() == pytest.approx(0.02, abs=0.005)
    assert (np.diff(shades.ravel().astype(int)) >= 0).all()


def test_pixels_without_data_are_grey_and_a_constant_band_does_no_harm() -> None:
    image = np.full((3, 10, 10), 0.1, dtype=np.float16)
    image[1, 0, 0] = np.nan

    assert (stretch(image)[0, 0] == NO_DATA_GREY).all()


def test_true_colour_is_read_from_the_store(tmp_path: Path) -> None:
    names = tuple(f"sentinel2_2020-08-11_{band}" for band in ("B02", "B03", "B04"))
    store = make_store(tmp_path, split={"Tile3": "train"}, channels=("viirs_2020-08-08_DNB", *names))
    picture = read_satellite_picture(store, "Tile3")

    assert picture is not None
    assert picture.rgb.shape == (800, 800, 3)
    assert picture.caption == "Sentinel-2, 2020-08-11, true colour"
    position = [layer.name for layer in store.layers("Tile3")].index("sentinel2_2020-08-11_B04")
    red = store.read_tile("Tile3", np.array([position]))
    np.testing.assert_array_equal(picture.rgb[..., 0], stretch(red)[..., 0])


@pytest.mark.parametrize(
    ("names", "caption"),
    [
        (("sentinel1_2020-08-04_VV", "sentinel2_2020-08-11_B04"), "Sentinel-2, 2020-08-11, B04"),
        (("viirs_2020-08-08_DNB", "sentinel1_2020-08-04_VV"), "Sentinel-1, 2020-08-04, VV"),
        (("viirs_2020-08-08_DNB", "viirs_DNB_max"), None),
    ],
)
def test_without_true_colour_a_band_is_shown_in_grey(
    names: tuple[str, ...], caption: str | None, tmp_path: Path
) -> None:
    store = make_store(tmp_path, split={"Tile1": "train"}, channels=names)

    picture = read_satellite_picture(store, "Tile1")

    assert (picture.caption if picture else None) == caption
    if picture:
        assert (picture.rgb[..., 0] == picture.rgb[..., 2]).all()


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
