import csv
import shutil
import sqlite3
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pytest
import shapely

from esdseg.mapping.settlements import SettlementOptions, Settlements, find_settlements
from esdseg.mapping.vectors import write_geopackage, write_table
from tests.mapping.areas import SOURCE, make_area, random_codes
from tests.mapping.test_settlements import BY_HAND

COLUMNS = ["settlement", "class_code", "cells", "area_km2", "probability", "probability_least", "light"]
COLUMNS += ["distance_to_light_km"]


@pytest.fixture(scope="module")
def settlements() -> Settlements:
    light = np.where(np.arange(600) % 5 > 0, 1.5, np.nan).reshape(20, 30)
    return find_settlements(make_area(random_codes(20, 30), 0.7, light), SettlementOptions(with_lit=True))


@pytest.fixture(scope="module")
def folder(settlements: Settlements, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settlements")
    write_geopackage(folder, settlements, "map", SOURCE.made_at)
    write_table(folder, settlements)
    return folder


def test_the_layers_hold_what_is_known_of_settlements_and_of_their_cells(
    folder: Path, settlements: Settlements
) -> None:
    meta, _, shapes, values = pyogrio.raw.read(folder / "settlements.gpkg", layer="settlements")
    assert meta["crs"] == "EPSG:32736"
    assert meta["fields"].tolist() == COLUMNS
    assert shapely.equals(shapely.from_wkb(shapes), settlements.outlines()).all()
    columns = dict(zip(meta["fields"], values, strict=True))
    np.testing.assert_array_equal(columns["cells"], settlements.cells)
    np.testing.assert_array_equal(columns["light"], settlements.known.light)
    np.testing.assert_array_equal(columns["class_code"], settlements.known.code)
    meta, _, shapes, values = pyogrio.raw.read(folder / "settlements.gpkg", layer="cells")
    assert meta["geometry_type"] == "Polygon"
    assert len(shapes) == settlements.cells.sum()
    columns = dict(zip(meta["fields"], values, strict=True))
    assert "cells" not in columns
    assert set(columns["area_km2"]) == {0.25}
    np.testing.assert_array_equal(columns["settlement"], settlements.known_of_cells.settlement)


@pytest.mark.skipif(shutil.which("ogrinfo") is None, reason="GDAL's ogrinfo is not installed")
def test_gdal_reads_the_layers_without_a_word(folder: Path) -> None:
    read = subprocess.run(
        ["ogrinfo", "-so", "-al", folder / "settlements.gpkg"], capture_output=True, text=True, check=True
    )
    assert read.stderr == ""
    assert "Layer name: cells" in read.stdout
    assert "Geometry: Multi Polygon" in read.stdout
    assert "WGS 84 / UTM zone 36S" in read.stdout


def test_what_is_not_known_is_null(folder: Path) -> None:
    with sqlite3.connect(folder / "settlements.gpkg") as database:
        nulls = database.execute("SELECT count(*) FROM cells WHERE light IS NULL").fetchone()[0]
        numbers = database.execute("SELECT count(*) FROM cells WHERE light = 1.5").fetchone()[0]
        cells = database.execute("SELECT count(*) FROM cells").fetchone()[0]
    assert nulls > 0
    assert nulls + numbers == cells


def test_qgis_finds_a_style_for_each_layer(folder: Path) -> None:
    with sqlite3.connect(folder / "settlements.gpkg") as database:
        # As QGIS asks: qgis/src/core/providers/ogr/qgsogrproviderutils.cpp.
        rows = database.execute(
            "SELECT f_table_name, styleQML FROM layer_styles WHERE f_table_schema = '' AND "
            "f_geometry_column = 'geom' ORDER BY CASE WHEN useAsDefault THEN 1 ELSE 2 END, update_time DESC"
        ).fetchall()
        columns = database.execute("SELECT table_name, column_name FROM gpkg_geometry_columns").fetchall()
    styles = dict(rows)
    assert set(styles) == {"settlements", "cells"}
    assert sorted(columns) == [("cells", "geom"), ("settlements", "geom")]
    for style in styles.values():
        tree = ElementTree.fromstring(style)
        labels = {category.get("value"): category.get("label") for category in tree.iter("category")}
        assert labels == {"1": "1 Settlement without electricity", "3": "3 Settlement with electricity"}
        colors = [prop.get("v") for prop in tree.iter("prop") if prop.get("k") == "color"]
        assert [color.rpartition(",")[0] for color in colors if color] == ["255,0,0", "255,255,0"]


def test_longitude_and_latitude_on_wish_with_areas_as_in_metres(
    tmp_path: Path, settlements: Settlements
) -> None:
    path = write_geopackage(tmp_path, settlements, "EPSG:4326", SOURCE.made_at)
    meta, _, shapes, values = pyogrio.raw.read(path, layer="settlements")
    assert meta["crs"] == "EPSG:4326"
    np.testing.assert_allclose(values[COLUMNS.index("area_km2")], settlements.area_km2)
    longitude, latitude = settlements.places()
    assert shapely.contains(shapely.from_wkb(shapes), shapely.points(longitude, latitude)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["settlements.gpkg"]


def test_the_table_has_onssets_columns_and_units(tmp_path: Path) -> None:
    found = find_settlements(make_area(BY_HAND, 0.6, 2.5), SettlementOptions(with_lit=True))
    with write_table(tmp_path, found).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["Rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    first, lit = rows[0], rows[-1]
    assert float(first["X_deg"]) == pytest.approx(32.09, abs=0.01)
    assert float(first["Y_deg"]) == pytest.approx(-9.95, abs=0.01)
    assert (first["Pop"], first["GridDistCurrent"]) == ("", "")
    assert (first["NightLights"], first["GridCellArea"], first["ElecStart"]) == ("2.500", "0.75", "0")
    assert (lit["ElecStart"], lit["Cells"], lit["LightDist"]) == ("1", "2", "0.000")


def test_a_map_without_settlements_gives_empty_layers(tmp_path: Path) -> None:
    none = find_settlements(make_area([[2, 2], [0, 2]]), SettlementOptions())
    path = write_geopackage(tmp_path, none, "EPSG:4326", SOURCE.made_at)
    assert [pyogrio.read_info(path, layer=layer)["features"] for layer in ("settlements", "cells")] == [0, 0]
    assert len(write_table(tmp_path, none).read_text().splitlines()) == 1
