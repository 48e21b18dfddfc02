"""All products of a map: each is there, and cells without data are no data in every one."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from PIL import Image

from esdseg.errors import MissingResourceError
from esdseg.mapping.area_map import AreaMap, DatesUsed, dates_notes
from esdseg.mapping.products import Products, write_products
from esdseg.sensors.classes import UNKNOWN_RGB
from tests.faults.small_disk import filled, small_disk
from tests.mapping.areas import LEFT_M, SOURCE, TOP_M, make_area, random_codes

FILES = {
    "item.json",
    "map.html",
    "map.qml",
    "map.tif",
    "map.tif.aux.xml",
    "probabilities.tif",
    "settlements.csv",
    "settlements.gpkg",
}


@pytest.fixture(scope="module")
def area() -> AreaMap:
    codes = random_codes(24, 30)
    codes[3:9, 4:20] = 0
    return make_area(codes)


@pytest.fixture(scope="module")
def products(area: AreaMap, tmp_path_factory: pytest.TempPathFactory) -> Products:
    return write_products(area, tmp_path_factory.mktemp("products"), replace(SOURCE, beside=("predict.yml",)))


def test_all_is_written_and_nothing_else(products: Products) -> None:
    folder = products.files[0].parent
    assert {path.name for path in folder.iterdir()} == {path.name for path in products.files} == FILES
    assets = json.loads((folder / "item.json").read_text())["assets"]
    assert set(assets) == FILES - {"item.json"} | {"predict.yml"}
    assert assets["predict.yml"]["roles"] == ["metadata"]


def test_cells_without_data_are_no_data_in_every_product(products: Products, area: AreaMap) -> None:
    folder, missing = products.files[0].parent, ~area.is_mapped
    assert missing.sum() > 90
    with rasterio.open(folder / "map.tif") as file:
        np.testing.assert_array_equal(file.read_masks(1) == 0, missing)
    with rasterio.open(folder / "probabilities.tif") as file:
        np.testing.assert_array_equal((file.read_masks() == 0).all(axis=0), missing)
    gaps = shapely.union_all(
        [
            shapely.box(LEFT_M + 500 * c, TOP_M - 500 * r - 500, LEFT_M + 500 * c + 500, TOP_M - 500 * r)
            for r, c in np.argwhere(missing)
        ]
    )
    for layer in ("cells", "settlements"):
        shapes = shapely.from_wkb(pyogrio.raw.read(folder / "settlements.gpkg", layer=layer)[2])
        assert shapely.area(shapely.intersection(shapes, gaps)).sum() == 0
    html = (folder / "map.html").read_text()
    images = re.findall(r'class="layer cells[^"]*" src="data:image/png;base64,([^"]+)"', html)
    assert len(images) == 3
    for image in images:
        with Image.open(io.BytesIO(base64.b64decode(image))) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        np.testing.assert_array_equal((pixels == UNKNOWN_RGB).all(axis=-1), missing)
    assert f"<td>{missing.sum():,}</td>" in html
    ground = re.search(r'class="layer ground" src="data:image/webp;base64,([^"]+)"', html)
    assert ground is not None
    with Image.open(io.BytesIO(base64.b64decode(ground[1]))) as picture:
        # The middle of the gap, away from the blur of the format.
        pixels = np.asarray(picture.convert("RGB"))[16:32, 20:76]
    assert np.abs(pixels.astype(int) - UNKNOWN_RGB).max() < 12


def test_the_same_map_gives_the_same_settlements_everywhere(products: Products) -> None:
    folder = products.files[0].parent
    count = len(products.settlements.cells)
    assert pyogrio.read_info(folder / "settlements.gpkg", layer="settlements")["features"] == count
    assert len((folder / "settlements.csv").read_text().splitlines()) == count + 1
    assert (folder / "map.html").read_text().count('class="go"') == count


def test_on_a_full_disk_no_broken_geopackage_is_left(area: AreaMap, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 4_000_000) as disk, filled(disk, 200_000):
        with pytest.raises(MissingResourceError, match=r"no space left to write .*settlements\.gpkg"):
            write_products(area, disk, SOURCE)
        assert not [path.name for path in disk.iterdir() if "gpkg" in path.name]


def test_sensors_that_lack_dates_alike_are_told_in_one_sentence() -> None:
    lacking = (("viirs", 2), ("sentinel1", 1), ("sentinel2", 2), ("landsat8", 0))
    first, second = dates_notes(DatesUsed(sensor, {}, 4, count) for sensor, count in lacking)
    assert first.startswith("2 of 4 squares of 8 km lack dates of viirs, sentinel2 that the network takes.")
    assert second.startswith("1 of 4 squares of 8 km lack dates of sentinel1 that the network takes.")
