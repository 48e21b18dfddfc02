import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pystac
import pytest
import shapely
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from rasterio.warp import transform

from esdseg.mapping.stac import write_item
from esdseg.sensors.classes import CLASSES
from tests.mapping.areas import LEFT_M, SOURCE, TOP_M, UTM_36_SOUTH, make_area

NAMES = ("map.html", "map.tif", "probabilities.tif", "settlements.gpkg", "settlements.csv", "map.qml")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("item")
    files = [folder / name for name in NAMES]
    area = make_area([[1, 2, 0], [2, 3, 4]])
    return write_item(folder, area, "Chipata, east", SOURCE.made_at, SOURCE.checkpoints, files)


def test_the_item_is_valid_by_the_schema_of_its_version(path: Path) -> None:
    # pystac brings the schemas of the core with it; those of the extensions lie on the network.
    item = json.loads(path.read_text())
    assert item["stac_version"] == "1.1.0"
    validator = JsonSchemaSTACValidator()
    validator.validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    with pytest.raises(pystac.STACValidationError):
        validator.validate_core({**item, "assets": None}, pystac.STACObjectType.ITEM, item["stac_version"])


def test_pystac_reads_where_and_of_when_the_map_is(path: Path) -> None:
    item = pystac.Item.from_file(path)
    assert item.id == "esdseg-chipata-east-20240501T120000"
    assert item.datetime is None
    assert item.common_metadata.start_datetime == datetime(2023, 8, 9, tzinfo=UTC)
    assert item.common_metadata.end_datetime == datetime(2023, 8, 16, 23, 59, 59, tzinfo=UTC)
    assert item.common_metadata.created == SOURCE.made_at
    projection = ProjectionExtension.ext(item)
    assert (projection.code, projection.shape) == ("EPSG:32736", [2, 3])
    assert projection.transform == [500, 0, LEFT_M, 0, -500, TOP_M]
    assert projection.bbox == [LEFT_M, TOP_M - 1000, LEFT_M + 1500, TOP_M]
    outline = shapely.geometry.shape(item.geometry)
    x, y = transform("EPSG:4326", UTM_36_SOUTH, *outline.exterior.xy)
    expected = shapely.box(LEFT_M, TOP_M - 1000, LEFT_M + 1500, TOP_M)
    assert shapely.Polygon(zip(x, y, strict=True)).symmetric_difference(expected).area < 100
    assert outline.exterior.is_ccw
    assert item.bbox == pytest.approx(outline.bounds, abs=1e-5)


def test_each_file_is_an_asset_and_the_map_names_its_classes(path: Path) -> None:
    item = pystac.Item.from_file(path)
    assert {name: asset.href for name, asset in item.assets.items()} == {name: f"./{name}" for name in NAMES}
    assert item.assets["map.tif"].media_type == pystac.MediaType.COG
    assert item.assets["settlements.gpkg"].media_type == pystac.MediaType.GEOPACKAGE
    classes = ClassificationExtension.ext(item.assets["map.tif"]).classes
    assert classes is not None
    found = [(one.value, one.name, one.color_hint) for one in classes[1:]]
    assert found == [(one.code, one.name, one.color[1:].upper()) for one in CLASSES]
    assert classes[0].nodata


def test_a_map_without_dates_is_of_the_moment_it_was_made(tmp_path: Path) -> None:
    area = replace(make_area([[1]]), dates={})
    item = json.loads(write_item(tmp_path, area, "…", SOURCE.made_at, (), ()).read_text())
    assert item["properties"]["datetime"] == "2024-05-01T12:00:00Z"
    assert "start_datetime" not in item["properties"]
    assert item["id"] == "esdseg-area-20240501T120000"
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
