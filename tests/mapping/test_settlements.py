"""Settlements on maps made by hand, against shapely and scipy."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.warp import transform
from scipy import ndimage

from esdseg.errors import InputDataError
from esdseg.mapping.settlements import SettlementOptions, Settlements, find_settlements
from esdseg.mapping.supplements import check_supplements, population_of_cells
from tests.mapping.areas import LEFT_M, TOP_M, UTM_36_SOUTH, make_area, random_codes

BY_HAND = [
    [1, 1, 2, 2, 2, 2, 2],
    [2, 2, 1, 2, 2, 3, 3],
    [2, 2, 2, 2, 0, 2, 4],
    [1, 2, 2, 2, 2, 2, 1],
    [1, 2, 1, 2, 2, 2, 1],
]
"""Three settlements without electricity and one with it; a cell without data."""


def square(row: int, column: int) -> shapely.Polygon:
    left, top = LEFT_M + 500 * column, TOP_M - 500 * row
    return shapely.box(left, top - 500, left + 500, top)


def write_people(path: Path, people: npt.NDArray[np.generic], place: Affine, crs: str | None) -> Path:
    height, width = people.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=height,
        width=width,
        dtype=people.dtype,
        nodata=-99,
        crs=crs,
        transform=place,
    ) as file:
        file.write(people, 1)
    return path


@pytest.fixture(scope="module")
def drawn() -> Settlements:
    """The settlements of a map drawn at random, those with electricity too."""
    return find_settlements(make_area(random_codes(40, 50)), SettlementOptions(with_lit=True))


def test_cells_that_touch_at_a_corner_are_one_settlement() -> None:
    confidence = np.full((5, 7), 0.6)
    confidence[1, 2], confidence[3, 0] = 0.9, 0.5
    light = np.arange(35).reshape(5, 7).astype(float)
    light[3:, 0] = np.nan
    found = find_settlements(make_area(BY_HAND, confidence, light), SettlementOptions())

    assert found.cells.tolist() == [3, 2, 2, 1]
    assert found.area_km2.tolist() == [0.75, 0.5, 0.5, 0.25]
    assert found.known.settlement.tolist() == [1, 2, 3, 4]
    assert found.known.code.tolist() == [1] * 4
    np.testing.assert_allclose(found.known.probability, [0.7, 0.6, 0.55, 0.6], rtol=1e-6)
    np.testing.assert_allclose(found.probability_least, [0.6, 0.6, 0.5, 0.6], rtol=1e-6)
    np.testing.assert_array_equal(found.known.light, [9, 34, np.nan, 30])
    assert found.known_of_cells.settlement.tolist() == [1, 1, 1, 2, 2, 3, 3, 4]
    outlines = found.outlines()
    assert [outline.geom_type for outline in outlines] == ["MultiPolygon"] * 4
    assert outlines[0].equals(shapely.union_all([square(0, 0), square(0, 1), square(1, 2)]))
    # From the outline to that of the nearest cell of class 3 or 4; the second settlement touches one.
    expected = np.array([2, 0, np.hypot(4, 1), np.hypot(2, 2)]) * 0.5
    np.testing.assert_allclose(found.known.distance_to_light_km, expected)


def test_components_outlines_and_distances_are_those_of_scipy_and_shapely(drawn: Settlements) -> None:
    codes = random_codes(40, 50)
    labels, count = ndimage.label(codes == 1, structure=np.ones((3, 3)))
    dark = drawn.known.code == 1
    assert dark.sum() == count
    assert sorted(drawn.cells[dark]) == sorted(np.bincount(labels.ravel())[1:])
    outlines = drawn.outlines()
    assert shapely.is_valid(outlines).all()
    np.testing.assert_allclose(shapely.area(outlines), drawn.area_km2 * 1e6)
    lit = shapely.union_all([square(row, column) for row, column in np.argwhere(codes >= 3)])
    np.testing.assert_allclose(
        drawn.known.distance_to_light_km, shapely.distance(outlines, lit) / 1000, atol=1e-9
    )
    np.testing.assert_allclose(
        drawn.known_of_cells.distance_to_light_km, shapely.distance(drawn.squares(), lit) / 1000, atol=1e-9
    )


def test_settlements_with_electricity_come_after_those_without(drawn: Settlements) -> None:
    codes = drawn.known.code
    assert set(codes) == {1, 3}
    assert (np.diff(codes) >= 0).all()
    assert (drawn.known.distance_to_light_km[codes == 3] == 0).all()
    expected_cells = (drawn.cells * drawn.known.probability)[codes == 1]
    assert (np.diff(expected_cells) <= 1e-9).all()
    np.testing.assert_array_equal(
        drawn.known_of_cells.settlement, np.repeat(np.arange(len(codes)) + 1, drawn.cells)
    )


def test_a_settlement_is_placed_in_one_of_its_own_cells(drawn: Settlements) -> None:
    x, y = transform("EPSG:4326", UTM_36_SOUTH, *drawn.places())
    inside = shapely.contains(drawn.outlines(), shapely.points(x, y))
    assert inside.all()


def test_a_map_without_settlements_or_light_says_so() -> None:
    found = find_settlements(make_area([[2, 2], [0, 2]]), SettlementOptions(with_lit=True))
    assert len(found.cells) == len(found.rows) == len(found.outlines()) == len(found.places()[0]) == 0
    dark = find_settlements(make_area([[1, 2], [0, 2]]), SettlementOptions())
    assert np.isnan(dark.known.distance_to_light_km).all()


def test_people_are_shared_out_by_area_in_the_maps_own_system(tmp_path: Path) -> None:
    # Pixels of 200 m that begin 100 m within the first cell: the third of each row is cut by a border.
    people = np.arange(1, 26, dtype=np.float32).reshape(5, 5)
    people[0, 0] = -99
    place = Affine(200, 0, LEFT_M + 100, 0, -200, TOP_M - 100)
    area = make_area([[1, 2], [2, 2]])
    found = population_of_cells(write_people(tmp_path / "people.tif", people, place, UTM_36_SOUTH), area.grid)
    pixels = [
        (count, shapely.box(x, y - 200, x + 200, y))
        for (row, column), count in np.ndenumerate(people)
        for x, y in [place @ (column, row)]
        if count > 0
    ]
    for row, column in np.ndindex(2, 2):
        shares = sum(
            count * pixel.intersection(square(row, column)).area / pixel.area for count, pixel in pixels
        )
        assert found[row, column] == pytest.approx(shares, rel=1e-9)


@pytest.mark.parametrize("pixel_degrees", [0.0009, 0.02], ids=["finer", "coarser"])
def test_people_in_degrees_are_shared_out_by_area_and_none_is_lost(
    tmp_path: Path, pixel_degrees: float
) -> None:
    area = make_area(np.full((6, 7), 1))
    west, south = np.array(transform(UTM_36_SOUTH, "EPSG:4326", [LEFT_M], [TOP_M - 3000])).ravel() - 0.03
    size = int(0.1 / pixel_degrees)
    place = Affine(pixel_degrees, 0, west, 0, -pixel_degrees, south + size * pixel_degrees)
    people = np.random.default_rng(0).random((size, size)).astype(np.float32)
    path = write_people(tmp_path / "people.tif", people, place, "EPSG:4326")

    found = population_of_cells(path, area.grid)
    rows, columns = np.indices((size + 1, size + 1)).reshape(2, -1)
    x, y = transform(
        "EPSG:4326", UTM_36_SOUTH, west + pixel_degrees * columns, place.f - pixel_degrees * rows
    )
    corners = np.stack([x, y], axis=-1).reshape(size + 1, size + 1, 2)
    rings = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]], axis=2)
    pixels = shapely.polygons(rings)
    for row, column in ((0, 0), (3, 4), (5, 6)):
        shares = shapely.area(shapely.intersection(pixels, square(row, column))) / shapely.area(pixels)
        assert found[row, column] == pytest.approx((shares * people).sum(), rel=1e-6)


def test_people_rank_settlements_and_cells_beyond_their_raster_are_unknown(tmp_path: Path) -> None:
    # The raster ends 1 km west of the map's eastern edge.
    people = np.zeros((5, 5), np.float32)
    people[4, 0], people[4, 2] = 70, 90
    path = write_people(tmp_path / "people.tif", people, Affine(500, 0, LEFT_M, 0, -500, TOP_M), UTM_36_SOUTH)
    found = find_settlements(make_area(BY_HAND), SettlementOptions(population=path))

    assert found.ranked_by == "population"
    assert found.known.population is not None
    np.testing.assert_allclose(found.known.population, [90, 70, 0, np.nan])
    assert found.cells.tolist() == [1, 2, 3, 2]


def test_distances_to_the_grid_are_those_of_shapely_whatever_its_system(tmp_path: Path) -> None:
    line = shapely.linestrings([[LEFT_M + 2250, TOP_M - 1250], [LEFT_M + 9000, TOP_M - 1300]])
    in_degrees = shapely.transform(
        line, lambda x, y: np.array(transform(UTM_36_SOUTH, "EPSG:4326", x, y)), interleaved=False
    )
    path = tmp_path / "lines.gpkg"
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(np.array([in_degrees])),
        field_data=[],
        fields=[],
        geometry_type="LineString",
        crs="EPSG:4326",
    )
    found = find_settlements(make_area(BY_HAND), SettlementOptions(grid=path))

    assert found.known.distance_to_grid_km is not None
    expected = shapely.distance(found.outlines(), line) / 1000
    np.testing.assert_allclose(found.known.distance_to_grid_km, expected, atol=1e-6)
    assert found.known_of_cells.distance_to_grid_km is not None
    np.testing.assert_allclose(
        found.known_of_cells.distance_to_grid_km, shapely.distance(found.squares(), line) / 1000, atol=1e-6
    )


def test_files_that_cannot_be_used_are_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    ones = np.ones((2, 2), np.float32)
    people = write_people(tmp_path / "no_crs.tif", ones, Affine(2, 0, 0, 0, -2, 0), None)
    for path, message in ((tmp_path / "text.tif", "cannot be read"), (people, "gdal_edit.py -a_srs")):
        with pytest.raises(InputDataError, match=message):
            check_supplements(path, None)
    with pytest.raises(InputDataError, match=r"missing\.gpkg does not exist"):
        check_supplements(None, tmp_path / "missing.gpkg")
    with pytest.raises(InputDataError, match=r"text\.tif cannot be read \([^;]+\); give a GeoPackage"):
        check_supplements(None, tmp_path / "text.tif")
    far = write_people(tmp_path / "far.tif", ones, Affine(1, 0, 0, 0, -1, 50), "EPSG:4326")
    with pytest.raises(InputDataError, match="holds no people of the mapped area"):
        find_settlements(make_area(BY_HAND), SettlementOptions(population=far))
    two = tmp_path / "two.gpkg"
    for layer in ("lines", "towns"):
        pyogrio.raw.write(
            two,
            geometry=shapely.to_wkb(np.array([shapely.Point(33, -10)])),
            field_data=[],
            fields=[],
            geometry_type="Point",
            crs="EPSG:4326",
            layer=layer,
            append=two.exists(),
        )
    with pytest.raises(InputDataError, match=r"several layers \(lines, towns\)"):
        check_supplements(None, two)
