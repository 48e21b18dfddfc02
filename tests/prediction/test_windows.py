from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esdseg.config.evaluation import TestTimeAugmentation
from esdseg.config.section import Precision
from esdseg.errors import InputDataError, UsageError
from esdseg.models.checkpoint import NetworkCheckpoint, SegmentationModel, load_checkpoint
from esdseg.prediction.tile_prediction import TilePrediction, scored_tiles
from esdseg.prediction.windows import ONE_PASS, CellMean, Passes, Turn, choose_device, predict_tiles
from esdseg.sensors.classes import SUBTILE_SIZES
from esdseg.store.store import Store
from tests.scoring.checkpoints import write_checkpoint

TILES = ("Tile3", "Tile10", "Tile4")


def predicted(
    checkpoint: NetworkCheckpoint,
    store: Store,
    batch_size: int | None = 5,
    precision: Precision = "32-true",
    tiles: tuple[str, ...] = TILES,
    passes: Passes = ONE_PASS,
) -> list[TilePrediction]:
    device = choose_device("cpu", precision)
    return list(predict_tiles((checkpoint,), store, tiles, device, batch_size, passes))


@pytest.mark.parametrize("batch_size", [1, 3, 16, None])
def test_maps_and_scores_do_not_depend_on_the_batch_size(
    batch_size: int | None, checkpoint: NetworkCheckpoint, store: Store
) -> None:
    tiles = predicted(checkpoint, store, batch_size, tiles=TILES[:2])
    expected = predicted(checkpoint, store, batch_size=5, tiles=TILES[:2])

    for one, other in zip(tiles, expected, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
    scores, expected_scores = (headline(predictions) for predictions in (tiles, expected))
    assert scores == pytest.approx(expected_scores, abs=1e-4)


def headline(predictions: list[TilePrediction]) -> dict[str, float | None]:
    return dict(scored_tiles(predictions).scores().headline())


def test_every_subtile_lies_where_it_was_cut_out(checkpoint: NetworkCheckpoint, store: Store) -> None:
    positions = np.array([store.channels.index(channel) for channel in checkpoint.channels])
    tile = predicted(checkpoint, store)[1]

    for top, left in ((0, 0), (4, 8), (12, 4)):
        image = torch.from_numpy(store.read_cells("Tile10", top, left, 4, 4, positions))[None]
        with torch.no_grad():
            expected = checkpoint.model(image).softmax(dim=1)[0].numpy()
        np.testing.assert_allclose(tile.probabilities[:, top : top + 4, left : left + 4], expected, atol=1e-6)


def test_tiles_come_in_order_with_their_truth(checkpoint: NetworkCheckpoint, store: Store) -> None:
    predictions = predicted(checkpoint, store)

    assert [one.tile for one in predictions] == list(TILES)
    assert [one.is_labelled for one in predictions] == [True, True, False]
    np.testing.assert_array_equal(predictions[0].truth, store.labels("Tile3"))
    for one in predictions:
        np.testing.assert_allclose(one.probabilities.sum(axis=0), 1, atol=1e-6)


def test_bfloat16_probabilities_are_near_those_of_float32(
    checkpoint: NetworkCheckpoint, store: Store
) -> None:
    (whole,) = predicted(checkpoint, store, tiles=TILES[:1])
    (half,) = predicted(checkpoint, store, precision="bf16-mixed", tiles=TILES[:1])

    assert whole.probabilities.dtype == half.probabilities.dtype == np.float32
    np.testing.assert_allclose(whole.probabilities, half.probabilities, atol=0.02)
    assert (whole.probabilities != half.probabilities).any()


def test_a_network_that_diverged_is_refused(tmp_path: Path, store: Store) -> None:
    path = write_checkpoint(tmp_path / "diverged.ckpt", store, weight_scale=float("nan"))

    with pytest.raises(InputDataError, match="not finite"):
        predicted(load_checkpoint(path), store)


def channel_positions(checkpoint: NetworkCheckpoint, store: Store) -> npt.NDArray[np.intp]:
    return np.array([store.channels.index(channel) for channel in checkpoint.channels])


@pytest.fixture
def lively(checkpoint: NetworkCheckpoint) -> NetworkCheckpoint:
    """A network for which every pixel of a cell and its surroundings counts, by where it lies."""
    torch.manual_seed(0)
    network = torch.nn.Conv2d(len(checkpoint.channels), 4, 100, stride=50, padding=25)
    return replace(checkpoint, model=SegmentationModel(checkpoint.model.normalization, network))


@pytest.mark.parametrize("tta", ["flips", "d4"])
def test_turns_and_flips_are_the_mean_of_what_each_gives_alone(
    tta: TestTimeAugmentation, lively: NetworkCheckpoint, store: Store
) -> None:
    (mine,) = predicted(lively, store, tiles=TILES[:1], passes=Passes(tta))
    (plain,) = predicted(lively, store, tiles=TILES[:1])
    image = store.read_cells(TILES[0], 4, 8, 4, 4, channel_positions(lively, store))
    seen = []
    for mirrored in (False, True):
        # Half a turn of the mirror image is the image upside down.
        for turns in (0, 2) if tta == "flips" else range(4):
            view = np.rot90(np.flip(image, -1) if mirrored else image, turns, (-2, -1))
            with torch.inference_mode():
                answer = lively.model(torch.tensor(view[None].copy())).softmax(dim=1)[0].numpy()
            back = np.rot90(answer, -turns, (-2, -1))
            seen.append(np.flip(back, -1) if mirrored else back)
    np.testing.assert_allclose(mine.probabilities[:, 4:8, 8:12], np.mean(seen, axis=0), atol=1e-5)
    assert not np.allclose(mine.probabilities, plain.probabilities, atol=0.01)


def test_a_network_that_turns_with_its_image_gives_the_same(
    checkpoint: NetworkCheckpoint, store: Store
) -> None:
    # Kernels of 1 x 1 pixels know no direction, and neither do the means of cells.
    head = torch.nn.Conv2d(len(checkpoint.channels), 4, 1)
    network = torch.nn.Sequential(head, torch.nn.AvgPool2d(50))
    model = SegmentationModel(checkpoint.model.normalization, network)
    equivariant = replace(checkpoint, model=model)
    (plain,) = predicted(equivariant, store, tiles=TILES[:1])
    (turned,) = predicted(equivariant, store, tiles=TILES[:1], passes=Passes("d4"))
    (blended,) = predicted(equivariant, store, tiles=TILES[:1], passes=Passes(overlap=3))
    np.testing.assert_allclose(turned.probabilities, plain.probabilities, atol=1e-6)
    np.testing.assert_allclose(blended.probabilities, plain.probabilities, atol=1e-6)


def test_overlapping_windows_are_blended_whatever_the_batch_size(
    lively: NetworkCheckpoint, store: Store
) -> None:
    passes = Passes(overlap=2)
    mine = predicted(lively, store, batch_size=5, tiles=TILES[:1], passes=passes)[0].probabilities
    whole = predicted(lively, store, batch_size=None, tiles=TILES[:1], passes=passes)[0].probabilities
    np.testing.assert_allclose(mine, whole, atol=1e-5)
    np.testing.assert_allclose(mine.sum(axis=0), 1, atol=1e-5)

    positions = channel_positions(lively, store)
    # Row 3, column 0 lies in the windows that begin at rows 0 and 2; there it is in rows 3 and 1.
    seen = []
    for top in (0, 2):
        image = torch.from_numpy(store.read_cells(TILES[0], top, 0, 4, 4, positions))[None]
        with torch.inference_mode():
            seen.append(lively.model(image).softmax(dim=1)[0, :, 3 - top, 0].numpy())
    np.testing.assert_allclose(mine[:, 3, 0], (1 * seen[0] + 2 * seen[1]) / 3, atol=1e-5)


def test_checkpoints_of_other_channels_and_windows_are_averaged(tmp_path: Path, store: Store) -> None:
    first = load_checkpoint(write_checkpoint(tmp_path / "first.ckpt", store, seed=1))
    others = tuple(channel for channel in reversed(store.channels) if channel.sensor.name != "sentinel1")
    other = load_checkpoint(write_checkpoint(tmp_path / "other.ckpt", store, seed=2, channels=others))
    metadata = other.metadata.model_copy(update={"temperature": 2.0})
    whole = replace(other, window_size=16, metadata=metadata)
    device = choose_device("cpu", "32-true")
    together = list(predict_tiles((first, whole), store, TILES, device))
    alone = [predicted(one, store) for one in (first, whole)]
    for mine, one, two in zip(together, *alone, strict=True):
        assert two.uncalibrated is not None
        assert mine.uncalibrated is not None
        np.testing.assert_array_equal(mine.truth, one.truth)
        np.testing.assert_allclose(mine.probabilities, (one.probabilities + two.probabilities) / 2, atol=1e-6)
        np.testing.assert_allclose(mine.uncalibrated, (one.probabilities + two.uncalibrated) / 2, atol=1e-6)


def test_no_tiles_give_no_predictions(checkpoint: NetworkCheckpoint, store: Store) -> None:
    assert predicted(checkpoint, store, tiles=()) == []


D4 = Passes("d4").turns


@pytest.mark.parametrize("turn", D4 + Passes("flips").turns, ids=str)
def test_each_turn_is_undone_exactly(turn: Turn) -> None:
    grid = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(turn.move_back(turn.move(grid)), grid, rtol=0, atol=0)


def test_the_eight_are_the_symmetries_of_the_square() -> None:
    grid = np.arange(9).reshape(3, 3)
    expected = {np.rot90(one, k).tobytes() for one in (grid, np.fliplr(grid)) for k in range(4)}
    assert {turn.move(torch.from_numpy(grid)).numpy().tobytes() for turn in D4} == expected
    assert len(expected) == 8
    flips = {turn.move(torch.from_numpy(grid)).numpy().tobytes() for turn in Passes("flips").turns}
    assert flips == {one.tobytes() for one in (grid, grid[::-1], grid[:, ::-1], grid[::-1, ::-1])}


@given(st.sampled_from(SUBTILE_SIZES).flatmap(lambda k: st.tuples(st.just(k), st.integers(0, max(0, k - 1)))))
def test_windows_cover_the_tile_and_share_at_least_the_overlap(size_and_overlap: tuple[int, int]) -> None:
    size, overlap = size_and_overlap
    starts = Passes(overlap=overlap).window_starts(size)
    assert (starts[0], starts[-1] + size) == (0, 16)
    shared = [first + size - second for first, second in pairwise(starts)]
    assert all(overlap <= one < size for one in shared)
    assert all(one == overlap for one in shared[:-1]), "only the last window is moved to end flush"


def test_weights_fall_towards_the_edges_and_stay_above_zero() -> None:
    weights = Passes(overlap=2).window_weights(4)
    slope = np.array([1, 2, 2, 1])
    np.testing.assert_array_equal(weights.numpy(), np.outer(slope, slope))
    assert (Passes().window_weights(4) == 1).all()


def test_overlapping_windows_are_averaged_by_their_weights() -> None:
    passes = Passes(overlap=3)
    generator = np.random.default_rng(0)
    starts, weights = passes.window_starts(8), passes.window_weights(8).numpy()
    corners = [(top, left) for top in starts for left in starts]
    windows = generator.dirichlet(np.ones(4), (len(corners), 8, 8)).transpose(0, 3, 1, 2)
    total, weight = np.zeros((4, 16, 16)), np.zeros((16, 16))
    for window, (top, left) in zip(windows, corners, strict=True):
        for row in range(8):
            for column in range(8):
                place = (top + row, left + column)
                total[:, *place] += weights[row, column] * window[:, row, column]
                weight[place] += weights[row, column]
    mean = CellMean()
    for start in range(0, len(corners), 4):
        chosen = slice(start, start + 4)
        mean.add(torch.from_numpy(windows[chosen]).float(), corners[chosen], torch.from_numpy(weights))
    np.testing.assert_allclose(mean.result().numpy(), total / weight, rtol=1e-5)
    np.testing.assert_allclose(mean.result().sum(dim=0).numpy(), 1, rtol=1e-5)


def test_float32_on_a_cpu_computes_without_autocast() -> None:
    device = choose_device("cpu", "32-true")

    with device.autocast():
        assert not torch.is_autocast_enabled("cpu")
    assert device.torch_device == torch.device("cpu")


def test_bfloat16_computes_under_autocast() -> None:
    with choose_device("cpu", "bf16-mixed").autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == torch.bfloat16


def test_float16_needs_a_gpu() -> None:
    with pytest.raises(UsageError, match="bf16-mixed or 32-true"):
        choose_device("cpu", "16-mixed")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_named() -> None:
    assert choose_device("auto", "32-true").torch_device.type in ("cpu", "mps")
    with pytest.raises(UsageError, match="--accelerator gpu"):
        choose_device("gpu", "auto")
