from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch import nn

from esdseg.config.section import CellPooling as CellPoolingMode
from esdseg.models.layers import CellPooling, pool_cells, running_statistics

REDUCTIONS: dict[str, Callable[[npt.NDArray[np.float64]], float]] = {
    "mean": np.mean,
    "max": np.max,
    "logsumexp": lambda cell: logsumexp(cell) - np.log(cell.size),
}


@pytest.mark.parametrize("mode", ["mean", "max", "logsumexp"])
@pytest.mark.parametrize("cell_size_px", [2, 5])
def test_each_cell_is_reduced_as_numpy_and_scipy_do_it(mode: CellPoolingMode, cell_size_px: int) -> None:
    logits = np.random.default_rng(0).normal(0, 5, (2, 4, 3 * cell_size_px, 2 * cell_size_px))
    pooled = pool_cells(torch.from_numpy(logits), cell_size_px, mode)
    assert pooled.shape == (2, 4, 3, 2)
    assert pooled.dtype == torch.float32
    for index in np.ndindex(2, 4, 3, 2):
        n, k, row, column = index
        rows = slice(row * cell_size_px, (row + 1) * cell_size_px)
        columns = slice(column * cell_size_px, (column + 1) * cell_size_px)
        assert pooled[index] == pytest.approx(
            REDUCTIONS[mode](logits[n, k, rows, columns]), rel=1e-4, abs=1e-5
        )


@given(value=st.floats(-1e4, 1e4, width=32), mode=st.sampled_from(["mean", "max", "logsumexp"]))
def test_a_constant_map_keeps_its_value(value: float, mode: CellPoolingMode) -> None:
    pooled = CellPooling(10, mode)(torch.full((1, 4, 20, 20), value))
    assert pooled.numpy() == pytest.approx(value, rel=1e-5, abs=1e-4)


def test_the_smooth_maximum_lies_between_mean_and_maximum() -> None:
    logits = torch.randn(3, 4, 100, 100, generator=torch.Generator().manual_seed(0)) * 4
    mean, smooth, largest = (pool_cells(logits, 50, mode) for mode in ("mean", "logsumexp", "max"))
    assert (mean < smooth).all()
    assert (smooth < largest).all()


def test_half_precision_logits_are_pooled_in_single_precision() -> None:
    logits = torch.full((1, 4, 50, 50), 1000.1, dtype=torch.bfloat16)
    assert pool_cells(logits, 50, "logsumexp").numpy() == pytest.approx(float(logits[0, 0, 0, 0]))


def test_a_map_that_does_not_divide_into_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="99 x 100 px do not divide into label cells of 50 px"):
        pool_cells(torch.zeros(1, 4, 99, 100), 50, "mean")


def test_running_statistics_are_used_and_kept_for_a_while() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5)).train()
    network(torch.randn(4, 2, 8, 8))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    image = torch.randn(4, 2, 8, 8) + 5
    with running_statistics(network):
        found = network[1](network[0](image))
        assert network[2].training, "other layers stay as they are"
    assert network[1].training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    torch.testing.assert_close(found, network[:2].eval()(image))
