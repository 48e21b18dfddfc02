"""Shares and difficulty of many tiles, against what 31 real tiles show."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score, roc_auc_score

from esdseg.sample.dates import contest_dates
from esdseg.sample.tile import generate_tile

TILES = 31
RENDERED_TILES = 12
"""Tiles whose images are looked at; the labels are the same without them."""

REAL_SHARES = (0.400, 0.533, 0.050, 0.018)
REAL_NEIGHBOURS = (
    (0.66, 0.33, 0.01, 0.00),
    (0.25, 0.74, 0.01, 0.01),
    (0.05, 0.08, 0.73, 0.14),
    (0.04, 0.16, 0.39, 0.41),
)


@dataclass(frozen=True)
class Statistics:
    """The first tiles of seed 0.

    Attributes:
        labels: Class codes of all tiles, ``(31, 16, 16)``.
        features: Features of each cell of the rendered tiles, ``(12, 256, 3 x rasters)``.
    """

    labels: npt.NDArray[np.uint16]
    features: npt.NDArray[np.float32]


def features_of(rasters: Iterable[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    columns = []
    for raster in rasters:
        # A quarter of the pixels tells as much of a cell.
        pixels = raster[::2, ::2].reshape(16, 25, 16, 25).swapaxes(1, 2).reshape(256, 625).astype(np.float32)
        columns += [pixels.mean(axis=1), pixels.std(axis=1), np.partition(pixels, 593, axis=1)[:, 593]]
    return np.stack(columns, axis=1)


@pytest.fixture(scope="module")
def statistics() -> Statistics:
    no_dates = dict.fromkeys(contest_dates(), ())
    # A clear date of each sensor tells as much as all of them, which take twice as long.
    one_date = {sensor: drawn[1:2] for sensor, drawn in contest_dates().items()}
    rendered = [generate_tile(0, number, one_date) for number in range(1, RENDERED_TILES + 1)]
    others = [generate_tile(0, number, no_dates) for number in range(RENDERED_TILES + 1, TILES + 1)]
    return Statistics(
        labels=np.stack([tile.labels for tile in (*rendered, *others)]),
        features=np.stack([features_of(tile.rasters.values()) for tile in rendered]),
    )


def test_class_shares_are_near_the_real_ones(statistics: Statistics) -> None:
    shares = [float(np.mean(statistics.labels == code)) for code in (1, 2, 3, 4)]
    for share, real, tolerance in zip(shares, REAL_SHARES, (0.05, 0.05, 0.02, 0.012), strict=True):
        assert share == pytest.approx(real, abs=tolerance), shares


def test_neighbours_are_as_alike_as_in_reality(statistics: Statistics) -> None:
    pairs = np.zeros((4, 4))
    labels = statistics.labels.astype(np.int64) - 1
    for cell, neighbour in ((labels[:, :, :-1], labels[:, :, 1:]), (labels[:, :-1], labels[:, 1:])):
        np.add.at(pairs, (cell.ravel(), neighbour.ravel()), 1)
    table = pairs / pairs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(table[:2], REAL_NEIGHBOURS[:2], atol=0.08)
    np.testing.assert_allclose(table[2:], REAL_NEIGHBOURS[2:], atol=0.20)


def test_tiles_differ_as_much_as_real_ones(statistics: Statistics) -> None:
    lit = np.count_nonzero(statistics.labels >= 3, axis=(1, 2))
    assert 11 <= np.count_nonzero(lit) <= 15
    assert 6 <= np.count_nonzero(lit > 15) <= 10
    dark = np.count_nonzero(statistics.labels == 1, axis=(1, 2))
    assert dark.min() < 35
    assert 190 < dark.max() < 220
    settled = (statistics.labels == 1).reshape(TILES, 256).astype(float)
    between = 256 * settled.mean(axis=1).var(ddof=1)
    within = settled.var(axis=1, ddof=1).mean()
    assert 0.12 < (between - within) / (between + 255 * within) < 0.28


def test_the_first_twelve_tiles_hold_every_class_several_times(statistics: Statistics) -> None:
    for code in (1, 2, 3, 4):
        assert np.count_nonzero((statistics.labels[:12] == code).any(axis=(1, 2))) >= 4


def test_no_single_feature_separates_dark_settlements_from_empty_land(statistics: Statistics) -> None:
    labels = statistics.labels[:RENDERED_TILES].ravel()
    features = statistics.features.reshape(labels.size, -1)
    dark = labels <= 2
    areas = np.array([roc_auc_score(labels[dark] == 1, column) for column in features[dark].T])
    best = float(np.maximum(areas, 1 - areas).max())
    assert 0.60 < best < 0.75


def test_trees_on_cell_statistics_are_neither_hopeless_nor_done(statistics: Statistics) -> None:
    width = statistics.features.shape[-1]
    settled = (statistics.labels[:RENDERED_TILES] == 1).reshape(RENDERED_TILES, 256)
    truth, predicted = [], []
    for fold in range(3):
        test = np.arange(fold, RENDERED_TILES, 3)
        training = np.setdiff1d(np.arange(RENDERED_TILES), test)
        trees = HistGradientBoostingClassifier(max_iter=60, random_state=0)
        trees.fit(statistics.features[training].reshape(-1, width), settled[training].ravel())
        predicted.append(trees.predict(statistics.features[test].reshape(-1, width)))
        truth.append(settled[test].ravel())
    score = f1_score(np.concatenate(truth), np.concatenate(predicted))
    assert 0.55 < score < 0.75
