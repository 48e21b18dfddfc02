import numpy as np
import pytest
import torch

from esdseg.baselines.cell_statistics import STATISTICS, CellStatistics


def image_with_gaps(channels: int, cells: int) -> torch.Tensor:
    generator = np.random.default_rng(0)
    image = generator.normal(5, 20, (2, channels, 50 * cells, 50 * cells)).astype(np.float16)
    image[:, 0] = np.nan
    image[generator.random(image.shape) < 0.3] = np.nan
    image[0, 1, :50, :50] = np.nan
    image[0, 1, 7, 9] = 3.0
    image[1, 2, 50:, :50] = np.inf
    return torch.from_numpy(image)


def test_each_cell_is_described_as_numpy_does() -> None:
    image = image_with_gaps(channels=4, cells=2)
    features = CellStatistics()(image)
    assert features.shape == (2, 2, 2, 3 * 4)
    assert features.dtype == torch.float32
    for number, row, column, channel in np.ndindex(2, 2, 2, 4):
        pixels = image[number, channel, 50 * row : 50 * row + 50, 50 * column : 50 * column + 50]
        values = pixels[torch.isfinite(pixels)].double().numpy()
        expected = (
            [values.mean(), values.std(), np.quantile(values, 0.95, method="inverted_cdf")]
            if len(values)
            else [np.nan] * len(STATISTICS)
        )
        np.testing.assert_allclose(features[number, row, column, channel::4], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("known", [1, 2, 19, 20, 21, 1237, 2499, 2500])
def test_the_quantile_is_exact_however_many_pixels_are_known(known: int) -> None:
    generator = np.random.default_rng(known)
    values = np.full(2500, np.nan, np.float32)
    values[generator.choice(2500, known, replace=False)] = generator.normal(size=known)
    features = CellStatistics()(torch.from_numpy(values).reshape(1, 1, 50, 50))
    expected = np.quantile(values[~np.isnan(values)], 0.95, method="inverted_cdf")
    assert features[0, 0, 0, 2] == expected
