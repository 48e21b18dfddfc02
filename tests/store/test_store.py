import json
import multiprocessing
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from esdseg.config.preprocessing import COURSE_RECIPE, PreprocessConfig
from esdseg.errors import InputDataError
from esdseg.sensors.classes import SUBTILE_SIZES
from esdseg.store.commands import preprocess_command
from esdseg.store.statistics import HalfArray
from esdseg.store.store import Store, open_store
from tests.store.stores import CHANNELS, write_store


def test_the_only_size_is_found_by_itself(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 8)
    store = open_store(tmp_path)
    assert (store.subtile_size, store.path) == (8, tmp_path / "8x8")


def test_several_sizes_ask_for_a_choice(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 4)
    write_store(tmp_path, {"Tile1": "train"}, 8)
    with pytest.raises(InputDataError, match=r"several sizes .*4x4, 8x8.*--subtile-size 4"):
        open_store(tmp_path)
    assert open_store(tmp_path, 8).subtile_size == 8


def test_a_size_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 8)
    with pytest.raises(InputDataError, match=r"esdseg preprocess .*--subtile-size 4`.*size that is there: 8"):
        open_store(tmp_path, 4)


def test_a_missing_folder_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"does not exist; .*`esdseg preprocess --processed-dir .*none"):
        open_store(tmp_path / "none")
    with pytest.raises(InputDataError, match="holds no processed store"):
        open_store(tmp_path)


def test_a_store_given_in_place_of_its_parent_is_told_apart(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 4)
    with pytest.raises(InputDataError, match=f"--processed-dir {tmp_path}"):
        open_store(tmp_path / "4x4")


def test_a_store_without_manifest_is_unfinished(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 8)
    (tmp_path / "8x8/manifest.json").unlink()
    with pytest.raises(InputDataError, match=r"was not finished; .*--subtile-size 8"):
        open_store(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{ no json", "is damaged"),
        ("[]", "has format version None"),
        ('{"format_version": 999}', "has format version 999, this esdseg reads 3"),
        ('{"format_version": 3}', "is not a manifest of esdseg"),
    ],
)
def test_a_wrong_manifest_is_refused_with_the_mending_command(
    tmp_path: Path, content: str, message: str
) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    (tmp_path / "4x4/manifest.json").write_text(content)
    with pytest.raises(InputDataError, match=rf"{message}.*--overwrite`"):
        open_store(tmp_path)


def test_a_renamed_store_is_refused(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 4)
    (tmp_path / "4x4").rename(tmp_path / "8x8")
    with pytest.raises(InputDataError, match="the folder was renamed"):
        open_store(tmp_path)


def test_a_missing_tile_is_named(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train", "Tile2": "val"})
    shutil.rmtree(tmp_path / "4x4/Val/Tile2.zarr")
    with pytest.raises(InputDataError, match=r"Val/Tile2\.zarr is missing; .*esdseg preprocess"):
        open_store(tmp_path)


def test_a_manifest_whose_tile_leads_out_of_the_store_is_refused(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    path = tmp_path / "4x4/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["tiles"]["../../Tile1"] = manifest["tiles"].pop("Tile1")
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputDataError, match="cannot be called"):
        open_store(tmp_path)


def test_the_hash_is_that_of_the_manifests_file(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    first = open_store(tmp_path).manifest_hash
    write_store(tmp_path, {"Tile1": "train"})
    assert open_store(tmp_path).manifest_hash == first
    write_store(tmp_path, {"Tile1": "val"})
    assert open_store(tmp_path).manifest_hash != first


def test_the_rewriting_command_spells_out_what_is_not_default(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 8)
    command = open_store(tmp_path).rewrite_command
    assert command.startswith(
        f"`esdseg preprocess --raw-dir RAW_DIR --processed-dir {tmp_path} --subtile-size 8 --seed 0` ("
    )


def test_a_named_recipe_and_another_source_stand_in_the_command() -> None:
    config = PreprocessConfig(raw_dir=Path("my tiles"), recipe=COURSE_RECIPE, val_fraction=0.5)
    assert preprocess_command(config, "--overwrite") == (
        "`esdseg preprocess --raw-dir 'my tiles' --processed-dir data/processed --subtile-size 4 "
        "--val-fraction 0.5 --recipe course --overwrite`"
    )


def test_sensors_bands_and_what_to_do_with_bad_tiles_stand_in_the_command() -> None:
    config = PreprocessConfig(
        sensors=Path("s2-s1"), selected_bands={"sentinel1": ("VV",)}, strict=True, skip_bad=True
    )
    assert preprocess_command(config) == (
        "`esdseg preprocess --processed-dir data/processed --sensors s2-s1 --subtile-size 4 "
        '--set \'selected_bands={"sentinel1": ["VV"]}\' --strict --skip-bad`'
    )


@pytest.mark.parametrize("size", SUBTILE_SIZES)
def test_subtiles_are_the_windows_of_the_image_that_was_written(tmp_path: Path, size: int) -> None:
    image, label = write_store(tmp_path, {"Tile1": "train"}, size)["Tile1"]
    store = open_store(tmp_path, size)
    last, side = 16 // size - 1, 50 * size
    for row, column in {(0, 0), (last, 0), (last // 2, last)}:
        expected = image[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
        found = store.read_subtile("Tile1", row, column)
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(store.read_tile("Tile1"), image)
    np.testing.assert_array_equal(store.labels("Tile1"), label)


def test_one_chunk_holds_one_subtile(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"}, 8)
    chunks = sorted(
        path.relative_to(tmp_path).as_posix()
        for path in (tmp_path / "8x8/Train/Tile1.zarr/image/c").rglob("*")
    )
    folder = "8x8/Train/Tile1.zarr/image/c/0"
    assert [chunk for chunk in chunks if chunk.count("/") == folder.count("/") + 2] == [
        f"{folder}/{row}/{column}" for row in (0, 1) for column in (0, 1)
    ]


def test_any_window_of_cells_can_be_read_with_chosen_channels(tmp_path: Path) -> None:
    image, _ = write_store(tmp_path, {"Tile1": "train"})["Tile1"]
    found = open_store(tmp_path).read_cells("Tile1", 3, 2, 6, 9, np.array([2, 0]))
    np.testing.assert_array_equal(found, image[[2, 0], 150:450, 100:550])


@pytest.mark.parametrize("window", [(-1, 0, 1, 1), (0, 0, 0, 1), (12, 0, 5, 1), (0, 16, 1, 1)])
def test_a_window_outside_the_tile_is_refused(tmp_path: Path, window: tuple[int, int, int, int]) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    with pytest.raises(IndexError, match="no window of a tile"):
        open_store(tmp_path).read_cells("Tile1", *window)


def test_statistics_are_those_of_the_stored_values(tmp_path: Path) -> None:
    written = write_store(tmp_path, {"Tile1": "train", "Tile2": "train", "Tile3": "val"})
    statistics = open_store(tmp_path).channel_statistics(["Tile1", "Tile2"])
    pixels = np.concatenate([written[tile][0].reshape(3, -1) for tile in ("Tile1", "Tile2")], axis=1)
    values = pixels.astype(np.float64)
    np.testing.assert_array_equal(statistics.count, np.isfinite(values).sum(axis=1))
    np.testing.assert_allclose(statistics.mean, np.nanmean(values, axis=1), rtol=1e-11)
    np.testing.assert_allclose(statistics.std, np.nanstd(values, axis=1), rtol=1e-11)
    np.testing.assert_array_equal(statistics.quantile(1), np.nanmax(values, axis=1))
    median = np.nanquantile(values, 0.5, axis=1, method="inverted_cdf")
    np.testing.assert_array_equal(statistics.quantile(0.5), median)


def test_class_counts_leave_unknown_cells_out(tmp_path: Path) -> None:
    written = write_store(tmp_path, {"Tile1": "train", "Tile2": "val"})
    store = open_store(tmp_path)
    labels = np.concatenate([label.ravel() for _, label in written.values()])
    assert store.class_counts(["Tile1", "Tile2"]).tolist() == [(labels == k).sum() for k in range(4)]


def test_tiles_and_channels_are_listed_in_the_manifests_order(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile2": "train", "Tile3": "val", "Tile10": "train", "Tile11": "test"})
    store = open_store(tmp_path)
    assert store.tile_names("train") == ("Tile2", "Tile10")
    assert (store.tile_names("val"), store.tile_names("test")) == (("Tile3",), ("Tile11",))
    assert tuple(channel.name for channel in store.channels) == CHANNELS


def test_statistics_of_no_tiles_and_of_unknown_tiles_are_refused(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    store = open_store(tmp_path)
    with pytest.raises(InputDataError, match="at least one tile"):
        store.channel_statistics([])
    with pytest.raises(InputDataError, match="no tile 'Tile9'; did you mean 'Tile1'"):
        store.channel_statistics(["Tile9"])


def _read(store: Store) -> HalfArray:
    return store.read_subtile("Tile1", 1, 2)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_an_opened_store_works_in_other_processes(tmp_path: Path, start_method: str) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    store = open_store(tmp_path)
    here = _read(store)
    with multiprocessing.get_context(start_method).Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply_async(_read, (store,)).get(timeout=60), here)
    assert pickle.loads(pickle.dumps(store)).manifest == store.manifest


def test_a_missing_chunk_is_a_fault_and_not_no_data(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    chunk = tmp_path / "4x4/Train/Tile1.zarr/image/c/0/1/2"
    chunk.unlink()
    store = open_store(tmp_path)
    with pytest.raises(InputDataError, match=r"c/0/1/2 is missing.*esdseg preprocess"):
        store.read_subtile("Tile1", 1, 2)
    assert store.read_subtile("Tile1", 1, 1).shape == (3, 200, 200)


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_chunk_is_named(tmp_path: Path, damage: str) -> None:
    write_store(tmp_path, {"Tile1": "train"})
    chunk = tmp_path / "4x4/Train/Tile1.zarr/image/c/0/1/2"
    content = bytearray(chunk.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))
    with pytest.raises(InputDataError, match=r"Tile1\.zarr cannot be read.*esdseg preprocess"):
        open_store(tmp_path).read_subtile("Tile1", 1, 2)


def test_a_tile_that_the_manifest_does_not_describe_is_refused(tmp_path: Path) -> None:
    write_store(tmp_path, {"Tile1": "train", "Tile2": "train"})
    shutil.rmtree(tmp_path / "4x4/Train/Tile1.zarr")
    (tmp_path / "4x4/Train/Tile2.zarr").rename(tmp_path / "4x4/Train/Tile1.zarr")
    (tmp_path / "4x4/Train/Tile2.zarr").mkdir()
    (tmp_path / "4x4/Train/Tile2.zarr/zarr.json").touch()
    store = open_store(tmp_path)
    for tile in ("Tile1", "Tile2"):
        with pytest.raises(InputDataError, match="not the one that the store's manifest lists"):
            store.labels(tile)


def test_an_unknown_tile_is_met_with_the_nearest_and_the_known(tmp_path: Path) -> None:
    write_store(tmp_path, dict.fromkeys(("Tile1", "Tile2", "Tile3", "Tile10"), "train"), 16)
    store = open_store(tmp_path)
    with pytest.raises(InputDataError, match=r"did you mean 'Tile10', .*\? Its tiles: Tile1, Tile2, Tile3"):
        store.select(["Tile3", "Tile100"])
    assert store.select(None) == tuple(store.manifest.tiles)
    assert store.select(["Tile10", "Tile1", "Tile10"]) == ("Tile10", "Tile1")
