"""Networks that predict together are one function: with windows, channels and temperatures of their own."""

from pathlib import Path

import numpy as np
import torch

from esdseg.baselines.checkpoint import open_checkpoint
from esdseg.config.models import SegmentationCNNConfig
from esdseg.prediction.calibration import temper
from esdseg.prediction.windows import choose_device, predict_tiles
from esdseg.sharing.formats import SharedModel, channels_needed
from esdseg.store.store import Store
from tests.scoring.checkpoints import write_checkpoint
from tests.scoring.conftest import store, workspace

__all__ = ["store", "workspace"]


def test_members_of_other_windows_and_channels_say_together_what_predict_tiles_says(
    store: Store, tmp_path: Path
) -> None:
    channels = store.channels
    settings = SegmentationCNNConfig(depth=1, embedding_size=2, pool_sizes=(5, 10))
    first = write_checkpoint(tmp_path / "a.ckpt", store, channels=channels[2:5], temperature=2.0)
    second = write_checkpoint(
        tmp_path / "b.ckpt",
        store,
        channels=(channels[4], channels[1]),
        network=settings,
        window_size=8,
        seed=1,
    )
    checkpoints = [open_checkpoint(path) for path in (first, second)]
    taken = tuple(dict.fromkeys(one for checkpoint in checkpoints for one in checkpoint.channels))
    (expected,) = predict_tiles(checkpoints, store, ["Tile3"], choose_device("cpu", "32-true"))
    image = torch.from_numpy(store.read_tile("Tile3", store.positions("Tile3", taken))).float()
    windows = image.unfold(1, 400, 400).unfold(2, 400, 400).permute(1, 2, 0, 3, 4).flatten(0, 1)
    for temperature in (1.0, 0.7):
        with torch.inference_mode():
            found = SharedModel(checkpoints, taken, 8, temperature)(windows)
        cells = found.reshape(2, 2, 4, 8, 8).permute(2, 0, 3, 1, 4).reshape(4, 16, 16)
        np.testing.assert_allclose(cells, temper(expected.probabilities, temperature), atol=1e-6)


def test_a_cell_needs_three_tenths_of_the_channels() -> None:
    assert [channels_needed(count) for count in (1, 3, 7, 10, 99, 100)] == [1, 1, 3, 3, 30, 30]
