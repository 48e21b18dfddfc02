import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from esdseg.mapping.area_map import AreaMap
from esdseg.mapping.rasters import write_map, write_probability_map
from esdseg.sensors.classes import CLASSES
from tests.mapping.areas import LEFT_M, TOP_M, make_area, random_codes


@pytest.fixture(scope="module")
def area() -> AreaMap:
    """An area so large that its rasters have overviews: patches of 2 x 2 cells with others strewn in."""
    codes = random_codes(300, 520)
    codes[np.random.default_rng(1).random(codes.shape) < 0.1] = 4
    return make_area(codes, pixels_per_cell=1)


@pytest.fixture(scope="module")
def folder(area: AreaMap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("products")
    write_map(folder, area)
    write_probability_map(folder, area)
    return folder


@pytest.mark.parametrize("name", ["map.tif", "probabilities.tif"])
def test_rasters_are_cloud_optimised_and_lie_on_the_grid(folder: Path, area: AreaMap, name: str) -> None:
    is_valid, errors, warnings = cog_validate(folder / name, strict=True)
    assert (is_valid, errors, warnings) == (True, [], [])
    with rasterio.open(folder / name) as file:
        assert file.crs.to_epsg() == 32736
        assert file.res == (500, 500)
        assert file.bounds == (LEFT_M, TOP_M - 300 * 500, LEFT_M + 520 * 500, TOP_M)
        assert file.tags()["dates_sentinel2"] == "2023-08-11, 2023-08-16"
        assert int(file.tags()["cells_without_data"]) == (~area.is_mapped).sum()


def test_the_map_holds_codes_and_its_overviews_the_most_frequent_class(folder: Path, area: AreaMap) -> None:
    codes = np.where(area.is_mapped, area.classes + 1, 0)
    with rasterio.open(folder / "map.tif") as file:
        assert file.nodata == 0
        np.testing.assert_array_equal(file.read(1), codes)
        palette = file.colormap(1)
        assert [palette[one.code] for one in CLASSES] == [(*one.rgb, 255) for one in CLASSES]
        assert file.overviews(1) == [2, 4]
    patches = codes.reshape(150, 2, 260, 2).swapaxes(1, 2).reshape(150, 260, 4)
    counts = (patches[..., None] == np.arange(5)).sum(axis=2)
    counts[..., 0] = 0  # Cells without data do not count.
    settled = counts.max(axis=-1) > 2
    assert 0.8 < settled.mean() < 0.99
    assert (patches[..., 0] != counts.argmax(axis=-1))[settled].sum() > 1000
    with rasterio.open(folder / "map.tif", overview_level=0) as file:
        np.testing.assert_array_equal(file.read(1)[settled], counts.argmax(axis=-1)[settled])


def test_probabilities_are_a_band_a_class_and_their_overviews_averages(folder: Path, area: AreaMap) -> None:
    with rasterio.open(folder / "probabilities.tif") as file:
        assert np.isnan(file.nodata)
        assert file.descriptions == tuple(label_class.title for label_class in CLASSES)
        np.testing.assert_array_equal(file.read(), area.probabilities)
    with rasterio.open(folder / "probabilities.tif", overview_level=1) as file:
        # Of means of 2 x 2 cells.
        expected = np.nanmean(area.probabilities[:, 100:104, 200:204], axis=(1, 2))
        np.testing.assert_allclose(file.read()[:, 25, 50], expected, rtol=1e-5)


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="GDAL's gdalinfo is not installed")
def test_gdal_shows_names_and_colours_of_the_classes(folder: Path) -> None:
    told = json.loads(subprocess.check_output(["gdalinfo", "-json", folder / "map.tif"], text=True))
    assert [row["f"] for row in told["rat"]["row"]] == [
        [0, "No data", 0, 0, 0, 0],
        *([one.code, one.title, *one.rgb, 255] for one in CLASSES),
    ]
    assert {Path(name).name for name in told["files"]} == {"map.tif", "map.tif.aux.xml"}
    shown = subprocess.check_output(["gdalinfo", folder / "map.tif"], text=True)
    assert all(f"{one.code}: {one.title}" in shown.partition("Categories:")[2] for one in CLASSES)


def test_the_style_of_qgis_names_and_colours_the_classes(folder: Path) -> None:
    renderer = ElementTree.parse(folder / "map.qml").find("pipe/rasterrenderer")
    assert renderer is not None
    assert renderer.get("type") == "paletted"
    entries = [dict(entry.attrib) for entry in renderer.iter("paletteEntry")]
    assert entries == [
        {"value": str(one.code), "color": one.color, "alpha": "255", "label": one.title_with_code}
        for one in CLASSES
    ]
