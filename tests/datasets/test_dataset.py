from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from esdseg.datasets.dataset import SubtileDataset, stack_samples
from esdseg.datasets.pixel_grid import PixelGrid
from esdseg.sensors.classes import UNKNOWN_LABEL
from esdseg.store.store import Store
from tests.contest import channel_from_name
from tests.datasets.make_store import CHANNELS, make_store, random_labels, stitch_subtiles

CACHES = (torch.device("cpu"), None)


@pytest.mark.parametrize("cache", CACHES)
def test_samples_restitch_to_the_stored_tile(store: Store, cache: torch.device | None) -> None:
    dataset = SubtileDataset(store, ["Tile3", "Tile10"], store.channels, cache)
    samples = [dataset[index] for index in range(len(dataset))]
    assert [(sample["tile"], sample["row"], sample["column"]) for sample in samples] == [
        (tile, row, column) for tile in range(2) for row in range(4) for column in range(4)
    ]
    for position, tile in enumerate(dataset.tiles):
        own = [sample for sample in samples if sample["tile"] == position]
        image = stitch_subtiles(torch.stack([sample["pixels"][0] for sample in own]).view(4, 4, 4, 200, 200))
        label = stitch_subtiles(torch.stack([sample["label"] for sample in own]).view(4, 4, 4, 4))
        np.testing.assert_array_equal(image.numpy(), store.read_tile(tile))
        np.testing.assert_array_equal(label.numpy(), store.labels(tile))
        assert image.dtype == torch.float16
        assert label.dtype == torch.int64


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("window_size", [1, 8, 16])
def test_windows_of_other_sizes_hold_the_same_cells(
    store: Store, cache: torch.device | None, window_size: int
) -> None:
    dataset = SubtileDataset(store, ["Tile3"], store.channels[:1], cache, window_size)
    side, size_px = 16 // window_size, 50 * window_size
    assert len(dataset) == side**2
    sample = dataset[len(dataset) - 1]
    assert (sample["row"], sample["column"]) == (side - 1, side - 1)
    np.testing.assert_array_equal(
        sample["pixels"][0].numpy(), store.read_tile("Tile3")[:1, -size_px:, -size_px:]
    )
    np.testing.assert_array_equal(
        sample["label"].numpy(), store.labels("Tile3")[-window_size:, -window_size:]
    )


@pytest.mark.parametrize("cache", CACHES)
def test_overlapping_windows_lie_at_every_cell(store: Store, cache: torch.device | None) -> None:
    dataset = SubtileDataset(
        store, ["Tile3", "Tile10"], store.channels[:1], cache, window_size=8, window_step=1
    )
    assert (dataset.windows_per_side, len(dataset)) == (9, 2 * 81)
    sample = dataset[81 + 3 * 9 + 5]
    assert (sample["tile"], sample["row"], sample["column"]) == (1, 3, 5)
    np.testing.assert_array_equal(sample["label"].numpy(), store.labels("Tile10")[3:11, 5:13])
    np.testing.assert_array_equal(
        sample["pixels"][0].numpy(), store.read_tile("Tile10")[:1, 150:550, 250:650]
    )
    places = [(dataset[index]["row"], dataset[index]["column"]) for index in dataset.grid_indices()[:4]]
    assert places == [(0, 0), (0, 8), (8, 0), (8, 8)]


def test_a_whole_tile_has_one_position(store: Store) -> None:
    dataset = SubtileDataset(store, ["Tile3"], store.channels[:1], window_size=16, window_step=1)
    assert (len(dataset), dataset.grid_indices(), dataset.labelled_indices()) == (1, (0,), (0,))


@pytest.mark.parametrize("cache", CACHES)
def test_channels_are_picked_by_name_in_the_order_asked_for(store: Store, cache: torch.device | None) -> None:
    names = ("sentinel2_2_B04", "viirs_2_DNB")
    dataset = SubtileDataset(store, ["Tile1"], [channel_from_name(name) for name in names], cache)
    np.testing.assert_array_equal(dataset[6]["pixels"][0].numpy(), store.read_subtile("Tile1", 1, 2)[[3, 1]])


def test_places_and_bands_that_a_tile_lacks_are_no_data(store: Store) -> None:
    names = ("sentinel2_1_B04", "sentinel2_3_B04", "sentinel1_1_VV", "viirs_DNB_max")
    dataset = SubtileDataset(store, ["Tile1"], [channel_from_name(name) for name in names])
    image = dataset[0]["pixels"][0].numpy()
    np.testing.assert_array_equal(image[0], store.read_subtile("Tile1", 0, 0)[2])
    assert np.isnan(image[1:]).all()


def test_subtiles_without_a_known_label_are_told_apart(tmp_path: Path) -> None:
    labels = np.full((16, 16), UNKNOWN_LABEL, np.uint8)
    labels[4, 15] = 2
    split = {"Tile1": "train", "Tile2": "train"}
    store = make_store(tmp_path, split=split, labels={"Tile2": labels}, channels=CHANNELS[:1])  # type: ignore[arg-type]
    dataset = SubtileDataset(store, ["Tile1", "Tile2"], store.channels)
    assert dataset.labelled_indices() == (*range(16), 16 + 4 + 3)
    assert dataset[16 + 4 + 3]["label"].flatten().tolist() == [255] * 3 + [2] + [255] * 12


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(("window_size", "window_step"), [(4, 4), (8, 1)])
def test_grids_take_of_a_window_what_they_take_of_its_image(
    store: Store, cache: torch.device | None, window_size: int, window_step: int
) -> None:
    grids = (PixelGrid((2, 0), 50), PixelGrid((1,), 17), PixelGrid((3,), 10))
    whole = SubtileDataset(store, ["Tile3"], store.channels, cache, window_size, window_step)
    thinned = SubtileDataset(store, ["Tile3"], store.channels, cache, window_size, window_step, grids)
    for index in (0, 1, len(whole) // 2 + 1, len(whole) - 1):
        (image,), pixels = whole[index]["pixels"], thinned[index]["pixels"]
        for grid, one in zip(grids, pixels, strict=True):
            np.testing.assert_array_equal(one.numpy(), grid.sample(image[None])[0].numpy())


def test_there_is_no_sample_beyond_the_last(store: Store) -> None:
    dataset = SubtileDataset(store, ["Tile1"], store.channels)
    with pytest.raises(IndexError):
        dataset[16]


def test_loader_processes_read_the_same_samples(store: Store) -> None:
    dataset = SubtileDataset(
        store, ["Tile1"], store.channels, grids=(PixelGrid((1,), 10), PixelGrid((0,), 50))
    )
    alone, helped = (
        list(DataLoader(dataset, batch_size=5, num_workers=workers, multiprocessing_context=context))
        for workers, context in ((0, None), (1, "fork"))
    )
    for ours, theirs in zip(alone, helped, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ("label", "tile", "row", "column"))
        assert [one.shape[1:] for one in ours["pixels"]] == [(1, 40, 40), (1, 200, 200)]
        for mine, other in zip(ours["pixels"], theirs["pixels"], strict=True):
            assert torch.equal(mine.nan_to_num(), other.nan_to_num())


@pytest.mark.parametrize("cache", CACHES)
def test_stacked_samples_are_pytorchs_with_the_channels_last(
    store: Store, cache: torch.device | None
) -> None:
    grids = (PixelGrid((1, 2), 10), PixelGrid((0, 3, 2), 50))
    dataset = SubtileDataset(store, ["Tile1"], store.channels, cache, 8, 1, grids)
    samples = [dataset[index] for index in (0, 17, 40)]
    ours, theirs = stack_samples(samples), default_collate(samples)
    assert all(torch.equal(ours[key], theirs[key]) for key in ("label", "tile", "row", "column"))
    for mine, other in zip(ours["pixels"], theirs["pixels"], strict=True):
        assert mine.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_array_equal(mine.numpy(), other.numpy())


def test_random_labels_hold_every_class() -> None:
    assert set(np.unique(random_labels(0))) == {0, 1, 2, 3}
