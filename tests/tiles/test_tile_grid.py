"""Where the files of a tile say that they lie: one grid, single files that are turned, and contradictions."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS

from esdseg.tiles.reading import Georeference
from esdseg.tiles.tile_grid import TileGrid, judge_grid, pixel_size_m

PLACE = Affine(10, 0, 300_000, 0, -10, 8_200_000)
UPSIDE_DOWN = PLACE @ Affine(1, 0, 0, 0, -1, 800)
LABELS = Path("groundTruth.tif")
RASTERS = [Path(f"{number}.tif") for number in range(5)]


def at(transform: Affine, crs: str | None = "EPSG:32735") -> Georeference:
    wkt = CRS.from_user_input(crs).to_wkt() if crs else ""
    return Georeference(wkt, (transform.a, transform.b, transform.c, transform.d, transform.e, transform.f))


def judge(*rasters: Georeference | None, labels: Georeference | None = None) -> TileGrid:
    return judge_grid(dict(zip(RASTERS, rasters, strict=False)), LABELS, labels)


def test_rasters_that_say_nothing_contradict_nothing() -> None:
    assert judge(None, None) == TileGrid(None, frozenset(), ())
    assert judge(None, at(PLACE)) == TileGrid(at(PLACE), frozenset(), ())


def test_one_reference_system_in_other_words_is_no_contradiction() -> None:
    by_name, by_numbers = at(PLACE), at(PLACE, "+proj=utm +zone=35 +south +datum=WGS84 +units=m +type=crs")
    assert by_name.crs_wkt != by_numbers.crs_wkt
    assert judge(by_name, by_numbers, at(PLACE)).misfits == ()


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_rasters_less_than_half_a_pixel_apart_share_a_grid(right: float, down: float) -> None:
    misfits = judge(at(PLACE), at(PLACE), at(PLACE @ Affine.translation(right, down))).misfits
    assert [error.path for error in misfits] == ([RASTERS[2]] if max(abs(right), abs(down)) > 0.5 else [])


@pytest.mark.parametrize("odd", range(3))
def test_a_single_raster_with_its_rows_in_the_other_order_is_turned(odd: int) -> None:
    references = [at(PLACE), at(PLACE), at(PLACE)]
    references[odd] = at(UPSIDE_DOWN)
    assert judge(*references) == TileGrid(at(PLACE), frozenset([RASTERS[odd]]), ())


def test_several_rasters_with_their_rows_in_the_other_order_are_refused() -> None:
    grid = judge(*[at(PLACE)] * 3, *[at(UPSIDE_DOWN)] * 2)
    assert [error.path for error in grid.misfits] == RASTERS[3:]
    assert "rows run in the opposite order" in grid.misfits[0].fault
    assert grid.turned == frozenset()


def test_a_tile_of_rows_from_south_to_north_is_as_good_as_another() -> None:
    labels = at(UPSIDE_DOWN @ Affine.scale(50))
    assert judge(*[at(UPSIDE_DOWN)] * 3, labels=labels) == TileGrid(at(UPSIDE_DOWN), frozenset(), ())
    turned = judge(*[at(UPSIDE_DOWN)] * 3, labels=at(PLACE @ Affine.scale(50))).turned
    assert turned == {LABELS}


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (at(PLACE, "EPSG:32736"), "It lies in EPSG:32736, most rasters of the tile in EPSG:32735."),
        (at(PLACE @ Affine.translation(100, 0)), "Its first corner lies at (301000, 8200000)"),
        (at(PLACE @ Affine.scale(2)), "Its pixels are 20 x 20, those of most rasters of the tile 10 x 10."),
        (
            at(PLACE @ Affine(-1, 0, 800, 0, 1, 0)),
            "lies at (308000, 8200000), that of most",
        ),
        (at(PLACE @ Affine.rotation(30)), "rows or columns run in other directions"),
        (at(PLACE @ Affine.translation(0, 300), None), "lies at (300000, 8197000)"),
    ],
    ids=["zone", "shift", "pixels", "mirrored", "rotated", "a transform alone"],
)
def test_a_raster_that_lies_elsewhere_is_refused_with_the_grid_it_should_have(
    odd: Georeference, said: str
) -> None:
    (misfit,) = judge(at(PLACE), odd, at(PLACE)).misfits
    assert (misfit.path, misfit.kind) == (RASTERS[1], "georeference")
    assert said in misfit.fault
    assert ("rio warp FILE OUT --like 0.tif" in misfit.fix) is bool(odd.crs_wkt)


def test_transforms_without_a_reference_system_are_compared_and_not_handed_on() -> None:
    assert judge(at(PLACE, None), at(PLACE, None)) == TileGrid(None, frozenset(), ())
    assert len(judge(at(PLACE, None), at(PLACE, None), at(PLACE @ Affine.scale(3), None)).misfits) == 1


CELLS = PLACE @ Affine.scale(50)


@pytest.mark.parametrize(
    ("labels", "is_turned", "said"),
    [
        (at(CELLS), False, None),
        (at(CELLS, None), False, None),
        (at(CELLS @ Affine(1, 0, 0, 0, -1, 16)), True, None),
        (
            at(CELLS @ Affine.translation(1, 0)),
            False,
            "(300500, 8200000), that of the rasters at (300000",
        ),
        (at(CELLS @ Affine.translation(0, 0.1)), False, "lies at (300000, 8199950)"),
        (
            at(CELLS @ Affine.scale(0.5)),
            False,
            "250 x 250; by the rasters they should be 500 x 500",
        ),
        (at(CELLS, "EPSG:32634"), False, "EPSG:32634"),
    ],
    ids=["fit", "without a system", "turned", "one cell east", "5 px south", "smaller cells", "another zone"],
)
def test_the_label_grid_fits_the_rasters_or_is_turned_or_refused(
    labels: Georeference, is_turned: bool, said: str | None
) -> None:
    grid = judge(at(PLACE), at(PLACE), labels=labels)
    assert (LABELS in grid.turned) is is_turned
    assert [error.path for error in grid.misfits] == ([LABELS] if said else [])
    assert all(said in error.fault for error in grid.misfits if said)
    values = np.arange(4).reshape(2, 2)
    np.testing.assert_array_equal(grid.orient(LABELS, values), values[::-1] if is_turned else values)


@pytest.mark.parametrize(
    ("crs", "transform", "metres"),
    [
        ("EPSG:32735", PLACE, (10, 10)),
        ("EPSG:4326", Affine(9e-5, 0, 33, 0, -9e-5, -13), (9.75, 10.0)),
        ("EPSG:3857", Affine(20, 0, 3_700_000, 0, -20, 8_399_738), (10, 10)),
        ("EPSG:2263", Affine(10, 0, 984_000, 0, -10, 208_000), (3.05, 3.05)),
    ],
    ids=["UTM", "degrees", "Mercator at 60 degrees north", "feet"],
)
def test_pixels_are_measured_on_the_ground(crs: str, transform: Affine, metres: tuple[float, float]) -> None:
    assert pixel_size_m(at(transform, crs), 800) == pytest.approx(metres, rel=0.02)


def test_pixels_of_another_size_are_refused_where_a_reference_system_says_so() -> None:
    coarse = PLACE @ Affine.scale(2)
    labels = at(coarse @ Affine.scale(50))
    misfits = judge(at(coarse), at(coarse), labels=labels).misfits
    assert [(error.path, error.kind) for error in misfits] == [(path, "pixel_size") for path in RASTERS[:2]]
    assert "20 x 20 m; 10 x 10 m are expected" in misfits[0].fault
    assert judge(at(coarse, None), at(coarse, None)).misfits == ()
    local = at(coarse, 'LOCAL_CS["a map", UNIT["metre", 1]]')
    assert judge(local, local).misfits == ()
    assert [error.path for error in judge(None, labels=labels).misfits] == [LABELS]
