import gzip
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.warp import transform

from esdseg.config.cutting import CutConfig
from esdseg.config.loading import build_config
from esdseg.errors import ConfigError, InputDataError
from esdseg.tiles.area import CellGrid
from esdseg.tiles.labelling import apply_rule, label_cells, lit_cells, read_codes, touched_cells
from tests.make_tiles import write_raster

ZONE = "EPSG:32736"
GRID = CellGrid(rasterio.CRS.from_string(ZONE).to_wkt(), 600_000, 8_600_000, rows=6, columns=8)
CELL = 500.0


def boxes() -> npt.NDArray[np.object_]:
    """The cells as polygons, (rows, columns)."""
    row, column = np.mgrid[: GRID.rows, : GRID.columns]
    west, north = GRID.left_m + column * CELL, GRID.top_m - row * CELL
    return np.asarray(shapely.box(west, north - CELL, west + CELL, north))


def in_degrees(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    def turn(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(transform(ZONE, "EPSG:4326", xy[:, 0], xy[:, 1]))

    return np.asarray(shapely.transform(shapes, turn))


def write_geojson(path: Path, shapes: npt.NDArray[np.object_]) -> Path:
    features = [
        {"type": "Feature", "properties": {}, "geometry": json.loads(text)}
        for text in shapely.to_geojson(in_degrees(shapes))
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def buildings(number: int = 60, seed: int = 1) -> npt.NDArray[np.object_]:
    """Turned rectangles of 10 to 300 m, some of which reach over borders of cells or out of the grid."""
    rng = np.random.default_rng(seed)
    left, _, right, top = GRID.bounds
    shapes = []
    for _ in range(number):
        house = shapely.box(0, 0, rng.uniform(10, 300), rng.uniform(10, 60))
        angle, x, y = rng.uniform(0, 6), rng.uniform(left - 200, right + 200), rng.uniform(0, 3200)
        turned = shapely.transform(
            house, lambda xy, a=angle: xy @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        )
        shapes.append(shapely.transform(turned, lambda xy, x=x, y=y: xy + np.array([x, top + 100 - y])))
    return np.array(shapes)


def test_a_cell_holds_a_building_where_shapely_finds_a_common_area(tmp_path: Path) -> None:
    shapes = buildings(30)
    cells = touched_cells(write_geojson(tmp_path / "buildings.geojson", shapes), GRID)
    common = shapely.area(shapely.intersection(shapes[:, None, None], boxes()))
    # What is common by less than a hundredth of a square metre may go with the rounding of degrees.
    assert not np.any((common > 0) & (common < 0.01))
    np.testing.assert_array_equal(cells, (common > 0).any(axis=0))
    assert 5 < cells.sum() < 48


def test_a_polygon_of_many_cells_marks_those_that_it_enters(tmp_path: Path) -> None:
    lake = shapely.Point(GRID.left_m + 2100, GRID.top_m - 1300).buffer(1200)
    ring = lake.difference(lake.centroid.buffer(900))
    cells = touched_cells(write_geojson(tmp_path / "ring.geojson", np.array([ring])), GRID)
    np.testing.assert_array_equal(cells, shapely.area(shapely.intersection(ring, boxes())) > 0)
    assert not cells[2, 3]


def test_tables_of_google_and_of_points_are_read_as_the_same_shapes(tmp_path: Path) -> None:
    shapes = buildings(40, seed=2)
    expected = touched_cells(write_geojson(tmp_path / "buildings.geojson", shapes), GRID)
    header = "latitude,longitude,area_in_meters,confidence,geometry,full_plus_code\n"
    rows = [
        f'{place.y},{place.x},{20},0.8,"{shape.wkt}",6GC'
        for shape, place in zip(in_degrees(shapes), shapely.centroid(in_degrees(shapes)), strict=True)
    ]
    with gzip.open(tmp_path / "025_buildings.csv.gz", "wt") as packed:
        packed.write(header + "\n".join(rows) + "\n")
    np.testing.assert_array_equal(touched_cells(tmp_path / "025_buildings.csv.gz", GRID), expected)
    points = [row.replace(shape.wkt, "") for row, shape in zip(rows, in_degrees(shapes), strict=True)]
    table = header.replace(",geometry", "") + "\n".join(point.replace(',""', "") for point in points) + "\n"
    (tmp_path / "points.csv").write_text(table)
    inside = shapely.contains(boxes(), shapely.centroid(shapes)[:, None, None]).any(axis=0)
    np.testing.assert_array_equal(touched_cells(tmp_path / "points.csv", GRID), inside)


def test_files_of_other_reference_systems_are_turned(tmp_path: Path) -> None:
    from pyogrio.raw import write

    shapes = buildings(20, seed=3)
    path = tmp_path / "buildings.gpkg"
    write(path, shapely.to_wkb(shapes), [], [], crs=ZONE, geometry_type="Polygon", driver="GPKG")
    common = shapely.area(shapely.intersection(shapes[:, None, None], boxes()))
    np.testing.assert_array_equal(touched_cells(path, GRID), (common > 0).any(axis=0))


def test_a_cell_is_lit_where_any_part_of_it_is_under_a_bright_pixel(tmp_path: Path) -> None:
    """Against shapely: pixels of 15 arc seconds, as polygons, on the cells."""
    west, _, _, north = rasterio.warp.transform_bounds(ZONE, "EPSG:4326", *GRID.bounds)
    place = Affine(1 / 240, 0, west - 0.003, 0, -1 / 240, north + 0.002)
    light = np.random.default_rng(0).gamma(0.3, 0.5, (9, 12)).astype(np.float32)
    light[:, 8:] = -999.9
    path = write_raster(tmp_path / "lights.tif", light, "EPSG:4326", place)
    row, column = np.mgrid[:9, :12]
    x, y = place @ (column.ravel(), row.ravel())
    pixels = shapely.box(x, y - 1 / 240, x + 1 / 240, y)

    def turn(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.column_stack(transform("EPSG:4326", ZONE, xy[:, 0], xy[:, 1]))

    pixels = shapely.transform(shapely.segmentize(pixels, 1e-4), turn)
    common = shapely.area(shapely.intersection(pixels[:, None, None], boxes())).reshape(9, 12, 6, 8)
    is_lit, is_known = lit_cells(path, GRID, threshold=0.5)
    surely = (common[light > 0.5] > 400).any(axis=0)
    maybe = (common[light > 0.5] > 0).any(axis=0)
    assert np.all(is_lit >= surely)
    assert np.all(is_lit <= maybe)
    assert (surely == maybe).mean() > 0.9
    assert 0 < is_lit.sum() < 48
    np.testing.assert_array_equal(is_known, (common[:, :8] > 400).any(axis=(0, 1)))
    assert not is_known.all()


def test_codes_follow_the_contests_rule() -> None:
    building, lit = np.array([[1, 0, 1, 0, 1]], bool), np.array([[0, 0, 1, 1, 1]], bool)
    known = np.array([[1, 1, 1, 1, 0]], bool)
    assert apply_rule(building, lit, known).tolist() == [[1, 2, 3, 4, 0]]


def test_labels_come_from_the_files_that_settings_name(tmp_path: Path) -> None:
    houses = write_geojson(tmp_path / "buildings.geojson", buildings(20))
    town = shapely.box(GRID.left_m + 600, GRID.top_m - 1400, GRID.left_m + 900, GRID.top_m - 600)
    lit = write_geojson(tmp_path / "lit.geojson", np.array([town]))
    config = CutConfig(scenes=tmp_path, output=tmp_path, buildings=houses, lit=lit)
    codes = label_cells(config, GRID)
    is_lit = np.zeros((6, 8), bool)
    is_lit[1:3, 1] = True
    expected = apply_rule(touched_cells(houses, GRID), is_lit, np.ones_like(is_lit))
    np.testing.assert_array_equal(codes, expected)
    assert label_cells(CutConfig(scenes=tmp_path, output=tmp_path), GRID) is None


def test_a_raster_of_codes_is_read_at_the_centres_of_cells(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(1, 5, (6, 8)).astype(np.uint8)
    aligned = write_raster(tmp_path / "aligned.tif", codes, ZONE, GRID.cell_transform)
    np.testing.assert_array_equal(read_codes(aligned, GRID), codes)
    fine = np.random.default_rng(1).integers(1, 5, (310, 410)).astype(np.int16)
    place = Affine(10, 0, GRID.left_m - 25, 0, -10, GRID.top_m + 35)
    row, column = np.mgrid[:6, :8]
    at_centre = fine[((35 + 250 + row * 500) // 10), ((25 + 250 + column * 500) // 10)]
    np.testing.assert_array_equal(
        read_codes(write_raster(tmp_path / "fine.tif", fine, ZONE, place), GRID), at_centre
    )
    half = write_raster(tmp_path / "half.tif", codes[:, :3], ZONE, GRID.cell_transform)
    np.testing.assert_array_equal(read_codes(half, GRID), np.where(np.arange(8) < 3, codes, 0))


def test_labels_that_say_nothing_are_refused(tmp_path: Path) -> None:
    codes = np.full((6, 8), 7, np.uint8)
    with pytest.raises(InputDataError, match="codes 7 are no labels"):
        read_codes(write_raster(tmp_path / "codes.tif", codes, ZONE, GRID.cell_transform), GRID)
    elsewhere = GRID.part(50, 0, 1, 1).cell_transform
    with pytest.raises(InputDataError, match="no labels in the area"):
        read_codes(write_raster(tmp_path / "away.tif", codes, ZONE, elsewhere), GRID)
    with pytest.raises(InputDataError, match="does not say where it lies"):
        read_codes(write_raster(tmp_path / "nowhere.tif", codes), GRID)
    with pytest.raises(InputDataError, match="float32; labels are whole numbers"):
        read_codes(write_raster(tmp_path / "f.tif", codes.astype(np.float32), ZONE, elsewhere), GRID)
    (tmp_path / "lit.csv").write_text("name\nBlantyre\n")
    with pytest.raises(InputDataError, match=r"holds no shapes.*longitude and latitude"):
        touched_cells(tmp_path / "lit.csv", GRID)
    (tmp_path / "b.geojson").write_text("{")
    with pytest.raises(InputDataError, match=r"b\.geojson cannot be read"):
        touched_cells(tmp_path / "b.geojson", GRID)
    houses = write_geojson(tmp_path / "far.geojson", shapely.transform(buildings(3), lambda xy: xy + 90_000))
    config = CutConfig(scenes=tmp_path, output=tmp_path, buildings=houses, lit=houses)
    with pytest.raises(InputDataError, match=r"No building of .*far\.geojson stands in the area"):
        label_cells(config, GRID)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"buildings": "b.csv"}, "add --lights RASTER or --lit FILE"),
        ({"lit": "l.gpkg"}, "add --buildings FILE"),
        ({"labels": "l.tif", "buildings": "b.csv", "lit": "l.gpkg"}, "--labels or from --buildings"),
        ({"buildings": "b.csv", "lit": "l.gpkg", "lights": "l.tif"}, "--lights or from --lit"),
        ({"buildings": "b.csv", "lit": "l.gpkg", "light_threshold": 1.0}, "for --lights"),
    ],
)
def test_sources_of_labels_that_do_not_go_together_are_refused(given: dict[str, object], said: str) -> None:
    settings = {"scenes": "s", "output": "o", **given}
    with pytest.raises(ConfigError, match=said):
        build_config(CutConfig, [(key, value, key) for key, value in settings.items()])
