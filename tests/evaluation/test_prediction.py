from pathlib import Path

import numpy as np
import pytest
import torch

from esdseg.config.section import Precision
from esdseg.errors import InputDataError
from esdseg.evaluation.device import choose_device
from esdseg.evaluation.prediction import TilePrediction, predict_tiles
from esdseg.evaluation.scores import headline_values, score_predictions
from esdseg.models import LoadedCheckpoint, load_checkpoint
from esdseg.store import Store
from tests.evaluation.checkpoints import write_checkpoint

TILES = ("Tile3", "Tile10", "Tile4")


def predicted(
    checkpoint: LoadedCheckpoint,
    store: Store,
    batch_size: int | None = 5,
    precision: Precision = "32-true",
    tiles: tuple[str, ...] = TILES,
) -> list[TilePrediction]:
    return list(predict_tiles(checkpoint, store, tiles, choose_device("cpu", precision), batch_size))


@pytest.mark.parametrize("batch_size", [1, 3, 16, None])
def test_maps_and_scores_do_not_depend_on_the_batch_size(
    batch_size: int | None, checkpoint: LoadedCheckpoint, store: Store
) -> None:
    tiles = predicted(checkpoint, store, batch_size, tiles=TILES[:2])
    expected = predicted(checkpoint, store, batch_size=5, tiles=TILES[:2])

    for one, other in zip(tiles, expected, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
    scores, expected_scores = (headline(predictions) for predictions in (tiles, expected))
    assert scores == pytest.approx(expected_scores, abs=1e-4)


def headline(predictions: list[TilePrediction]) -> dict[str, float | None]:
    return headline_values(score_predictions(predictions, np.ones(4, dtype=np.int64), 100, 0))


def test_every_subtile_lies_where_it_was_cut_out(checkpoint: LoadedCheckpoint, store: Store) -> None:
    positions = np.array([store.channels.index(channel) for channel in checkpoint.channels])
    tile = predicted(checkpoint, store)[1]

    for top, left in ((0, 0), (4, 8), (12, 4)):
        image = torch.from_numpy(store.read_cells("Tile10", top, left, 4, 4, positions))[None]
        with torch.no_grad():
            expected = checkpoint.model(image).softmax(dim=1)[0].numpy()
        np.testing.assert_allclose(tile.probabilities[:, top : top + 4, left : left + 4], expected, atol=1e-6)


def test_tiles_come_in_order_with_their_truth(checkpoint: LoadedCheckpoint, store: Store) -> None:
    predictions = predicted(checkpoint, store)

    assert [one.tile for one in predictions] == list(TILES)
    assert [one.is_labelled for one in predictions] == [True, True, False]
    np.testing.assert_array_equal(predictions[0].truth, store.labels("Tile3"))
    for one in predictions:
        np.testing.assert_allclose(one.probabilities.sum(axis=0), 1, atol=1e-6)


def test_bfloat16_probabilities_are_near_those_of_float32(checkpoint: LoadedCheckpoint, store: Store) -> None:
    (whole,) = predicted(checkpoint, store, tiles=TILES[:1])
    (half,) = predicted(checkpoint, store, precision="bf16-mixed", tiles=TILES[:1])

    assert whole.probabilities.dtype == half.probabilities.dtype == np.float32
    np.testing.assert_allclose(whole.probabilities, half.probabilities, atol=0.02)
    assert (whole.probabilities != half.probabilities).any()


def test_a_network_that_diverged_is_refused(tmp_path: Path, store: Store) -> None:
    path = write_checkpoint(tmp_path / "diverged.ckpt", store, weight_scale=float("nan"))

    with pytest.raises(InputDataError, match="not finite"):
        predicted(load_checkpoint(path), store)
