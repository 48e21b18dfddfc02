from dataclasses import replace

import numpy as np
import pytest

from esdseg.sample.fields import smooth_noise
from esdseg.sample.land import splat
from esdseg.sample.parameters import TileParameters, draw_parameters
from esdseg.sample.settlements import (
    LAMP_SPREAD_PX,
    LIT_THRESHOLD,
    Buildings,
    Lamps,
    Settlements,
    build_settlements,
    label_grid,
    label_picture,
)
from esdseg.sample.terrain import Terrain, build_terrain


@pytest.fixture(scope="module")
def parameters() -> TileParameters:
    return draw_parameters(0, 1)


@pytest.fixture(scope="module")
def terrain(parameters: TileParameters) -> Terrain:
    return build_terrain(parameters, np.random.default_rng(0))


def _settle(parameters: TileParameters, terrain: Terrain) -> Settlements:
    rng = np.random.default_rng(1)
    return build_settlements(parameters, terrain, smooth_noise(rng, 80.0), rng)


def _lamps(*positions: tuple[float, float]) -> Lamps:
    row, column = np.array(positions, np.float32).reshape(-1, 2).T
    return Lamps(row, column, np.ones_like(row))


def _buildings(*positions: tuple[float, float]) -> Buildings:
    row, column = np.array(positions, np.float32).reshape(-1, 2).T
    return Buildings(row, column, np.full_like(row, 50), np.zeros(row.size, np.int64), np.full_like(row, 0.2))


def test_labels_by_hand() -> None:
    # A building in cells (0, 0) and (2, 3); a lamp in the middle of (2, 3) and of the empty (5, 5).
    labels = label_grid(_buildings((10, 10), (110, 170)), _lamps((125.5, 175.5), (275.5, 275.5)))
    assert (labels[0, 0], labels[2, 3], labels[5, 5], labels[15, 15]) == (1, 3, 4, 2)
    assert np.bincount(labels.ravel(), minlength=5).tolist() == [0, 1, 253, 1, 1]


def test_light_spills_into_a_neighbouring_cell() -> None:
    labels = label_grid(_buildings((25, 45)), _lamps((25.5, 45.5)))
    assert (labels[0, 0], labels[0, 1]) == (3, 4)
    labels = label_grid(_buildings((25, 25)), _lamps((25.5, 25.5)))
    assert (labels[0, 0], labels[0, 1]) == (3, 2)


@pytest.mark.parametrize("lit_cells", [0.0, 6.0, 60.0])
def test_labels_follow_from_buildings_and_lamps_counted_one_by_one(
    parameters: TileParameters, terrain: Terrain, lit_cells: float
) -> None:
    made = _settle(replace(parameters, towns=(lit_cells,) if lit_cells else ()), terrain)
    labels = label_grid(made.buildings, made.lamps)
    settled = np.zeros((16, 16), bool)
    for row, column in zip(made.buildings.row, made.buildings.column, strict=True):
        settled[int(row // 50), int(column // 50)] = True
    light = np.zeros((800, 800))
    offset = np.arange(-20, 21)
    spread = np.exp(-(offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * LAMP_SPREAD_PX**2))
    padded = np.pad(light, 20)
    for row, column in zip(made.lamps.row.astype(int), made.lamps.column.astype(int), strict=True):
        padded[row : row + 41, column : column + 41] += spread / spread.sum()
    brightest = padded[20:-20, 20:-20].reshape(16, 50, 16, 50).max(axis=(1, 3))
    sure = np.abs(brightest / LIT_THRESHOLD - 1) > 1e-3
    expected = np.where(brightest > LIT_THRESHOLD, np.where(settled, 3, 4), np.where(settled, 1, 2))
    np.testing.assert_array_equal(labels[sure], expected[sure])
    assert sure.mean() > 0.95


@pytest.mark.parametrize("share", [0.05, 0.4, 0.8])
def test_the_wanted_share_of_dark_cells_is_settled(
    parameters: TileParameters, terrain: Terrain, share: float
) -> None:
    made = _settle(replace(parameters, towns=(), dark_settlement_share=share), terrain)
    settled = np.count_nonzero(label_grid(made.buildings, made.lamps) == 1)
    # The last hamlet is built whole, so a few cells more may be settled.
    assert share * 256 - 1 <= settled <= share * 256 + 5


@pytest.mark.parametrize("lit_cells", [5.0, 20.0, 60.0, 120.0])
def test_towns_light_about_the_wanted_number_of_cells(
    parameters: TileParameters, terrain: Terrain, lit_cells: float
) -> None:
    made = _settle(replace(parameters, towns=(lit_cells,) if lit_cells else ()), terrain)
    lit = np.count_nonzero(label_grid(made.buildings, made.lamps) >= 3)
    assert 0.4 * lit_cells <= lit <= 2.0 * lit_cells


def test_splat_shares_an_amount_among_the_pixels_it_touches() -> None:
    one_pixel = splat(*np.array([[10.5], [20.5], [0.6]], np.float32))
    assert one_pixel[10, 20] == pytest.approx(0.6)
    assert np.count_nonzero(one_pixel) == 1
    four_pixels = splat(*np.array([[10.0], [20.0], [0.6]], np.float32))
    assert four_pixels[9:11, 19:21].ravel().tolist() == pytest.approx([0.15] * 4)


def test_label_picture_paints_class_colours_at_raster_size() -> None:
    labels = np.full((16, 16), 2, np.uint16)
    labels[0, :4] = [1, 2, 3, 4]
    picture = label_picture(labels)
    assert picture.shape == (800, 800, 3)
    assert [tuple(picture[25, 25 + 50 * i]) for i in range(4)] == [
        (255, 0, 0),
        (0, 0, 255),
        (255, 255, 0),
        (178, 102, 255),
    ]
