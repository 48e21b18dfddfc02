from pathlib import Path

import numpy as np
import pytest

from esdseg.baselines.cell_features import STATISTICS, CellFeatures, describe_cells
from tests.datasets.make_store import make_store


def image_with_gaps(channels: int, cells: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    generator = np.random.default_rng(0)
    image = generator.normal(5, 20, (channels, 50 * cells, 50 * cells)).astype(np.float16)
    image[0] = np.nan
    image[1:-1][generator.random(image[1:-1].shape) < 0.3] = np.nan
    image[1, :50, :50] = np.nan
    image[1, 7, 9] = 3.0
    image[2, 50:, :50] = np.inf
    return image


def test_each_cell_is_described_as_numpy_does() -> None:
    image = image_with_gaps(channels=4, cells=2)
    features = describe_cells(image)
    assert features.shape == (2, 2, 3 * 4)
    assert features.dtype == np.float32
    for row, column, channel in np.ndindex(2, 2, 4):
        pixels = image[channel, 50 * row : 50 * row + 50, 50 * column : 50 * column + 50]
        values = pixels[np.isfinite(pixels)].astype(np.float64)
        expected = (
            [values.mean(), values.std(), np.quantile(values, 0.95, method="inverted_cdf")]
            if len(values)
            else [np.nan] * len(STATISTICS)
        )
        np.testing.assert_allclose(features[row, column, channel::4], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("known", [1, 2, 19, 20, 21, 1237, 2499, 2500])
def test_the_quantile_is_exact_however_many_pixels_are_known(known: int) -> None:
    generator = np.random.default_rng(known)
    values = np.full(2500, np.nan, np.float16)
    values[generator.choice(2500, known, replace=False)] = generator.normal(size=known)
    features = describe_cells(values.reshape(1, 50, 50))
    expected = np.quantile(values[~np.isnan(values)].astype(np.float32), 0.95, method="inverted_cdf")
    assert features[0, 0, 2] == expected


def test_labelled_cells_are_those_with_a_known_class_and_each_tile_is_described_once(tmp_path: Path) -> None:
    labels = np.full((16, 16), 255, np.uint8)
    labels[0, :4] = (0, 1, 3, 3)
    store = make_store(tmp_path, split={"Tile1": "train", "Tile2": "val"}, labels={"Tile1": labels})
    described: list[str] = []
    channels = store.channels[1:3]
    features = CellFeatures(store, channels, described.append)
    for _ in range(2):
        cells = features.labelled(["Tile1"], np.array([1.0, 2.0, 3.0, 4.0]))
    assert described == ["Tile1"]
    assert cells.labels.tolist() == [0, 1, 3, 3]
    assert cells.weights.tolist() == [1.0, 2.0, 4.0, 4.0]
    expected = describe_cells(store.read_tile("Tile1", np.array([1, 2])))[0, :4]
    np.testing.assert_array_equal(cells.features, expected)
