from pathlib import Path

import numpy as np
import pytest
import torch

from esdseg.config.training import ESDConfig
from esdseg.datasets.datamodule import SubtileDataModule
from esdseg.datasets.pixel_grid import PixelGrid
from esdseg.errors import InputDataError
from esdseg.preprocessing.preprocess import preprocess
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.manifest import SplitName
from esdseg.store.store import Store, open_store
from tests.datasets.make_store import CHANNELS, make_store
from tests.preprocessing.raw_tiles import config_for, follow, write_tiles


def config(store: Store, seed: int = 0, **values: object) -> ESDConfig:
    data = {"processed_dir": store.path.parent, "batch_size": 5, **values}
    return ESDConfig.model_validate({"data": data, "trainer": {"seed": seed}})


def order(data: SubtileDataModule, epoch: int) -> list[tuple[int, ...]]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return [
        place
        for batch in loader
        for place in zip(*(batch[key].tolist() for key in ("tile", "row", "column")), strict=True)
    ]


def test_batches_stack_samples(store: Store) -> None:
    batch = next(iter(SubtileDataModule(config(store), store).train_dataloader()))
    (image,) = batch["pixels"]
    assert image.shape == (5, 4, 200, 200)
    assert image.dtype == torch.float16
    assert batch["label"].shape == (5, 4, 4)
    assert batch["label"].dtype == torch.int64
    assert batch["tile"].shape == batch["row"].shape == batch["column"].shape == (5,)


def test_training_order_is_new_each_epoch_and_the_same_again_for_a_seed(store: Store) -> None:
    data, again = (SubtileDataModule(config(store, seed=3), store) for _ in range(2))
    assert order(data, 0) != order(data, 1)
    assert order(data, 1) == order(again, 1)
    assert sorted(order(data, 0)) == [(t, r, c) for t in range(2) for r in range(4) for c in range(4)]


def test_validation_gives_the_stored_values_in_order(store: Store) -> None:
    data = SubtileDataModule(config(store), store)
    images = torch.cat([batch["pixels"][0] for batch in data.val_dataloader()])
    expected = [
        store.read_subtile(tile, r, c) for tile in ("Tile3", "Tile10") for r in range(4) for c in range(4)
    ]
    np.testing.assert_array_equal(images.numpy(), np.stack(expected))


def test_bands_and_dates_are_picked_without_preprocessing_again(store: Store) -> None:
    picked = config(
        store,
        selected_bands={"sentinel2": ["B04"]},
        acquisitions={"sentinel2": {"order": "date", "count": 1}},
    )
    data = SubtileDataModule(picked, store)
    assert [channel.name for channel in data.channels] == ["sentinel2_1_B04"]
    batch = next(iter(data.val_dataloader()))
    np.testing.assert_array_equal(batch["pixels"][0][0].numpy(), store.read_subtile("Tile3", 0, 0)[[2]])


def test_a_band_that_is_not_in_the_store_is_named(store: Store) -> None:
    with pytest.raises(InputDataError, match="B11"):
        SubtileDataModule(config(store, selected_bands={"sentinel2": ["B11"]}), store)


def test_random_windows_lie_at_any_cell_as_many_as_on_the_grid(store: Store) -> None:
    data = SubtileDataModule(config(store, seed=3, window_positions="random"), store)
    again = SubtileDataModule(config(store, seed=3, window_positions="random"), store)
    epochs = [order(data, epoch) for epoch in range(3)]
    assert all(len(epoch) == 2 * 16 for epoch in epochs)
    assert [sum(tile == 0 for tile, _, _ in epoch) for epoch in epochs] == [16, 16, 16]
    assert len({place for epoch in epochs for place in epoch}) > 70, "of 96 draws out of 338 windows"
    assert epochs[2] == order(again, 2)
    image = store.read_tile("Tile2")
    for batch in data.train_dataloader():
        for tile, top, left, seen in zip(
            *(batch[k] for k in ("tile", "row", "column")), batch["pixels"][0], strict=True
        ):
            if tile == 1:
                rows, columns = (slice(50 * int(cell), 50 * int(cell) + 200) for cell in (top, left))
                np.testing.assert_array_equal(seen.numpy(), image[:, rows, columns])
    assert [batch["row"].max() for batch in data.val_dataloader()][-1] == 3, "validation stays on the grid"


@pytest.mark.parametrize("positions", ["grid", "random"])
def test_what_lies_on_the_device_gives_the_same_batches_without_loader_processes(
    store: Store, positions: str
) -> None:
    grids = (PixelGrid((0, 2), 17), PixelGrid((3,), 50))
    settings = {"window_size": 8, "window_positions": positions}
    resident, memory = (
        SubtileDataModule(config(store, seed=3, cache=cache, num_workers=workers, **settings), store)
        for cache, workers in (("gpu", 2), ("memory", 0))
    )
    for data in (resident, memory):
        data.take(grids)
    for ours, theirs in (
        (resident.train_dataloader(), memory.train_dataloader()),
        (resident.val_dataloader(), memory.val_dataloader()),
    ):
        assert (ours.num_workers, ours.pin_memory) == (0, False)
        for one, other in zip(ours, theirs, strict=True):
            assert all(torch.equal(one[key], other[key]) for key in ("label", "tile", "row", "column"))
            for mine, expected in zip(one["pixels"], other["pixels"], strict=True):
                assert torch.equal(mine.view(torch.int16), expected.view(torch.int16))


def test_random_windows_hold_a_known_label(tmp_path: Path) -> None:
    labels = np.full((16, 16), UNKNOWN_LABEL, np.uint8)
    labels[5, 5] = 1
    store = make_store(
        tmp_path, split={"Tile1": "train", "Tile2": "val"}, channels=CHANNELS[:1], labels={"Tile1": labels}
    )
    data = SubtileDataModule(config(store, window_positions="random"), store)
    places = {place for epoch in range(30) for place in order(data, epoch)}
    assert all(2 <= row <= 5 and 2 <= column <= 5 for _, row, column in places)
    assert len(places) > 8, "one window an epoch, of 16 that hold the cell"


def test_whole_tiles_are_drawn_as_they_are(store: Store) -> None:
    grid, random = (
        SubtileDataModule(config(store, seed=3, window_size=16, window_positions=positions), store)
        for positions in ("grid", "random")
    )
    assert order(grid, 1) == order(random, 1)


@pytest.mark.parametrize(
    ("side", "message"), [("train", "no validation tiles"), ("val", "no training tiles")]
)
def test_an_empty_side_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, side: str, message: str
) -> None:
    store = make_store(tmp_path, split={"Tile1": side}, channels=CHANNELS[:1])  # type: ignore[dict-item]
    with pytest.raises(InputDataError, match=rf"{message}.*esdseg preprocess .*--val-fraction"):
        SubtileDataModule(config(store), store)


def test_validation_tiles_without_a_known_label_are_refused(tmp_path: Path) -> None:
    unknown = np.full((16, 16), UNKNOWN_LABEL, np.uint8)
    store = make_store(
        tmp_path, split={"Tile1": "train", "Tile2": "val"}, channels=CHANNELS[:1], labels={"Tile2": unknown}
    )
    with pytest.raises(InputDataError, match=r"no validation cells.* there are 1\. Add labelled tiles"):
        SubtileDataModule(config(store), store)


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"val_fraction": 0}, "no validation tiles"),
        ({"val_fraction": 1}, "no training tiles"),
        ({"test_fraction": 1}, "no training tiles"),
    ],
)
def test_the_command_for_an_empty_side_makes_a_store_to_train_on(
    tmp_path: Path, fractions: dict[str, float], message: str
) -> None:
    write_tiles(tmp_path / "raw", ["Tile1", "Tile2", "Tile3"])
    preprocess(config_for(tmp_path, subtile_size=8, seed=5, **fractions))
    store = open_store(tmp_path / "processed")
    with pytest.raises(InputDataError, match=f"{message}.*writes all of its tiles again: ") as refused:
        SubtileDataModule(config(store), store)
    follow(str(refused.value), tmp_path / "raw")
    mended = open_store(tmp_path / "processed")
    assert (mended.subtile_size, mended.manifest.split.seed) == (8, 5)
    data = SubtileDataModule(config(mended), mended)
    assert (len(data.train_tiles), len(data.val_tiles)) == (2, 1)


def test_a_side_of_unknown_labels_is_mended_by_another_draw(tmp_path: Path) -> None:
    unknown = np.full((16, 16), UNKNOWN_LABEL, np.uint8)
    split: dict[str, SplitName] = {"Tile1": "train", "Tile2": "train", "Tile3": "val"}
    store = make_store(tmp_path, split=split, channels=CHANNELS[:1], labels={"Tile3": unknown})
    with pytest.raises(
        InputDataError, match=r"draw its split anew.*--val-fraction 0\.5 --seed 1 --overwrite`"
    ):
        SubtileDataModule(config(store), store)


def test_training_leaves_out_subtiles_without_a_known_label(tmp_path: Path) -> None:
    labels = np.full((16, 16), UNKNOWN_LABEL, np.uint8)
    labels[0, :5] = 1
    store = make_store(
        tmp_path, split={"Tile1": "train", "Tile2": "val"}, channels=CHANNELS[:1], labels={"Tile1": labels}
    )
    data = SubtileDataModule(config(store), store)
    assert sorted(order(data, 0)) == [(0, 0, 0), (0, 0, 1)]
    assert sum(len(batch["label"]) for batch in data.val_dataloader()) == 16
