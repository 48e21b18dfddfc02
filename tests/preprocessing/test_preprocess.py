import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from esdseg.errors import InputDataError
from esdseg.preprocessing.preprocess import preprocess
from esdseg.store.store import open_store
from esdseg.system.locks import exclusive_writer
from esdseg.tiles.reading import read_label_codes
from tests.contest import SENSORS
from tests.make_tiles import write_raster, write_tile
from tests.preprocessing.raw_tiles import DATES, config_for, contents, names_of, write_tiles

FIVE = ("Tile1", "Tile2", "Tile3", "Tile10", "Tile11")
RUN = """
import sys
from pathlib import Path
from esdseg.preprocessing.preprocess import preprocess
from tests.preprocessing.raw_tiles import config_for, names_of
from tests.contest import SENSORS
if __name__ == "__main__":
    preprocess(config_for(Path(sys.argv[1])), on_tile=lambda name, done, total: print(name, flush=True))
"""


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``raw/`` of five tiles, the last without ground truth, and their finished store."""
    folder = tmp_path_factory.mktemp("five")
    write_tiles(folder / "raw", FIVE, unlabelled=["Tile11"])
    preprocess(config_for(folder))
    return folder


@pytest.fixture
def work(raw: Path, tmp_path: Path) -> Path:
    """A copy of ``raw`` that a test may change, times of files included."""
    shutil.copytree(raw, tmp_path / "work")
    return tmp_path / "work"


def test_no_tile_is_in_two_splits_and_those_without_labels_are_for_testing(raw: Path) -> None:
    store = open_store(raw / "processed")
    train, val, test = (store.tile_names(split) for split in ("train", "val", "test"))
    assert sorted([*train, *val, *test]) == sorted(FIVE)
    assert (len(train), len(val), test) == (3, 1, ("Tile11",))
    for folder, tiles in (("Train", train), ("Val", val), ("Test", test)):
        assert {path.stem for path in (store.path / folder).glob("*.zarr")} == set(tiles)
    assert (store.labels("Tile11") == 255).all()


def test_stored_labels_are_the_codes_minus_one(tmp_path: Path) -> None:
    codes = np.resize([1, 2, 3, 4, 0], (16, 16))
    write_tile(tmp_path / "raw/Tile1", dates=DATES, codes=codes)
    preprocess(config_for(tmp_path, val_fraction=1))
    store = open_store(tmp_path / "processed")
    np.testing.assert_array_equal(store.labels("Tile1"), np.where(codes == 0, 255, codes - 1))
    assert store.class_counts(["Tile1"]).tolist() == [(codes == code).sum() for code in (1, 2, 3, 4)]
    assert store.manifest.tiles["Tile1"].unknown_cells == (codes == 0).sum()


def test_a_second_run_does_nothing(work: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (work / "processed/4x4").rglob("*.json")}
    result = preprocess(config_for(work))
    assert (result.written, result.reused) == ((), FIVE)
    assert {path: path.stat().st_mtime_ns for path in (work / "processed/4x4").rglob("*.json")} == before


def test_a_changed_raster_redoes_its_tile_alone(work: Path) -> None:
    raster = work / "raw/Tile3/S1A_IW_GRDH_20200723_VV.tif"
    before = open_store(work / "processed").read_tile("Tile3")
    shutil.copy(work / "raw/Tile1" / raster.name, raster)
    result = preprocess(config_for(work))
    assert result.written == ("Tile3",)
    store = open_store(work / "processed")
    assert not np.array_equal(store.read_tile("Tile3"), before)
    channel = np.array([names_of(store, "Tile3").index("sentinel1_2020-07-23_VV")])
    np.testing.assert_array_equal(store.read_tile("Tile3", channel), store.read_tile("Tile1", channel))


def test_a_removed_raster_redoes_its_tile_with_no_data(work: Path) -> None:
    (work / "raw/Tile2/S1A_IW_GRDH_20200804_VH.tif").unlink()
    result = preprocess(config_for(work))
    assert result.written == ("Tile2",)
    assert result.warnings[0] == ("Tile2 misses band VH of Sentinel-1 IW GRDH of 2020-08-04; no data there.")
    store = open_store(work / "processed")
    missing = np.flatnonzero(np.isnan(store.read_tile("Tile2")).all(axis=(1, 2)))
    assert [names_of(store, "Tile2")[index] for index in missing] == ["sentinel1_2020-08-04_VH"]
    assert np.isnan(store.layer_statistics("Tile2").mean[missing[0]])


def test_strict_refuses_missing_rasters(work: Path) -> None:
    for path in (work / "raw/Tile2").glob("S1A_IW_GRDH_20200804_*.tif"):
        path.unlink()
    with pytest.raises(InputDataError, match="Tile2 misses Sentinel-1 IW GRDH of 2020-08-04"):
        preprocess(config_for(work, strict=True))


def test_projections_use_the_nights_that_exist(work: Path) -> None:
    (work / "raw/Tile1/DNB_VNP46A1_A2020221.tif").unlink()
    preprocess(config_for(work))
    store = open_store(work / "processed")
    image = store.read_tile("Tile1")
    channels = {name: image[index] for index, name in enumerate(names_of(store, "Tile1"))}
    nights = [channels[name] for name in channels if name.startswith("viirs_2020")]
    assert len(nights) == 2
    np.testing.assert_array_equal(channels["viirs_DNB_max"], np.fmax(*nights))


def test_selected_bands_are_stored_alone_and_as_in_the_full_store(work: Path) -> None:
    config = config_for(work, subtile_size=8, selected_bands={"sentinel1": ["VV"], "viirs": ["DNB_max"]})
    preprocess(config)
    part, full = open_store(work / "processed", 8), open_store(work / "processed", 4)
    assert names_of(part, "Tile1") == (
        "viirs_DNB_max",
        "sentinel1_2020-07-23_VV",
        "sentinel1_2020-08-04_VV",
    )
    positions = np.array([names_of(full, "Tile1").index(name) for name in names_of(part, "Tile1")])
    np.testing.assert_array_equal(part.read_tile("Tile1"), full.read_tile("Tile1", positions))


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"seed": 1}, "seed was 12378921, is 1 now"),
        ({"val_fraction": 0.5}, "val_fraction was 0.2, is 0.5 now"),
        ({"selected_bands": {"sentinel1": ["VV"]}}, "5 bands there, 1 now"),
        (
            {"recipe": {"sentinel1": {"smoothing_sigma_px": 1}}},
            "recipe.sentinel1.smoothing_sigma_px was 0.0, is 1.0 now",
        ),
    ],
)
def test_changed_settings_are_refused_with_the_command_that_mends_it(
    raw: Path, settings: dict[str, object], difference: str
) -> None:
    before = contents(raw / "processed/4x4")
    with pytest.raises(InputDataError) as refusal:
        preprocess(config_for(raw, **settings))
    assert difference in str(refusal.value)
    assert f"`esdseg preprocess --raw-dir {raw / 'raw'} --processed-dir" in str(refusal.value)
    assert "--overwrite`" in str(refusal.value)
    assert contents(raw / "processed/4x4") == before


def test_a_changed_set_of_tiles_is_refused_and_built_afresh_on_request(work: Path) -> None:
    shutil.rmtree(work / "raw/Tile2")
    write_tile(work / "raw/Tile12", dates=DATES, labels=False)
    with pytest.raises(InputDataError, match=r"tile Tile2 is gone; tile Tile12 is new"):
        preprocess(config_for(work))
    result = preprocess(config_for(work), overwrite=True)
    assert result.written == ("Tile1", "Tile3", "Tile10", "Tile11", "Tile12")
    assert result.reused == ()
    store = open_store(work / "processed")
    assert tuple(store.manifest.tiles) == result.written
    assert not list(store.path.glob("*/Tile2.zarr"))


def test_a_tile_that_gets_ground_truth_is_refused_as_a_changed_split(work: Path) -> None:
    shutil.copy(work / "raw/Tile1/groundTruth.tif", work / "raw/Tile11/groundTruth.tif")
    with pytest.raises(InputDataError, match="tile Tile11 was in test, is in"):
        preprocess(config_for(work))


def test_the_store_is_the_same_with_any_workers_from_any_folder_in_any_order(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tiles arrive in another order here, and copies keep their times.
    for name in reversed(FIVE):
        shutil.copytree(raw / "raw" / name, tmp_path / "raw" / name)
    monkeypatch.chdir(tmp_path)
    done: list[tuple[str, int, int]] = []
    config = config_for(Path(), workers=2)
    result = preprocess(config, on_tile=lambda *progress: done.append(progress))
    assert contents(tmp_path / "processed/4x4") == contents(raw / "processed/4x4")
    assert sorted(name for name, _, _ in done) == sorted(result.written)
    assert [(count, total) for _, count, total in done] == [(count, 5) for count in range(1, 6)]


def test_a_killed_run_is_finished_by_the_next(raw: Path, work: Path) -> None:
    shutil.rmtree(work / "processed")
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(work)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    first = process.stdout.readline().decode().strip()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert first == "Tile1"
    assert not (work / "processed/4x4/manifest.json").exists()
    (work / "processed/4x4/.unfinished/Tile3.zarr").mkdir(parents=True, exist_ok=True)
    (work / "processed/4x4/.unfinished/Tile3.zarr/half").write_text("what a killed run leaves")
    result = preprocess(config_for(work))
    assert "Tile1" in result.reused
    assert "Tile11" in result.written
    assert contents(work / "processed/4x4") == contents(raw / "processed/4x4")


def test_tiles_of_an_unfinished_store_with_other_settings_are_not_mixed_in(work: Path) -> None:
    (work / "processed/4x4/manifest.json").unlink()
    result = preprocess(config_for(work, recipe={"sentinel1": {"smoothing_sigma_px": 1}}, val_fraction=0))
    assert result.reused == ()
    assert sorted(path.parent.name for path in result.store.glob("*/*.zarr")) == ["Test"] + ["Train"] * 4


def test_a_lost_tile_is_written_again(work: Path) -> None:
    lost = next((work / "processed/4x4/Train").glob("*.zarr"))
    shutil.rmtree(lost)
    assert preprocess(config_for(work)).written == (lost.stem,)
    assert open_store(work / "processed").read_tile(lost.stem).shape == (9, 800, 800)


def test_a_broken_raster_is_named_and_the_store_is_not_called_finished(work: Path) -> None:
    shutil.rmtree(work / "processed")
    broken = work / "raw/Tile2/S1A_IW_GRDH_20200804_VH.tif"
    broken.write_bytes(b"no TIFF")
    with pytest.raises(InputDataError, match=str(broken)):
        preprocess(config_for(work, workers=2))
    with pytest.raises(InputDataError, match="was not finished"):
        open_store(work / "processed")


def test_a_second_process_is_refused_while_one_writes(work: Path) -> None:
    with (
        exclusive_writer(work / "processed/4x4", "go elsewhere"),
        pytest.raises(InputDataError, match=f"being written by process {os.getpid()}"),
    ):
        preprocess(config_for(work), overwrite=True)


def test_rasters_with_a_reference_hand_it_on_and_others_have_none(tmp_path: Path, raw: Path) -> None:
    write_tile(tmp_path / "raw/Tile1", dates=DATES, crs="EPSG:32733")
    preprocess(config_for(tmp_path, val_fraction=0))
    place = open_store(tmp_path / "processed").manifest.tiles["Tile1"].georeference
    assert place is not None
    assert "33S" in place.crs_wkt
    assert place.transform[0] == -place.transform[4] == 10
    assert open_store(raw / "processed").manifest.tiles["Tile1"].georeference is None


def test_channels_follow_the_table_of_sensors(tmp_path: Path) -> None:
    dates = {sensor.name: sensor.dates[-1:] for sensor in SENSORS}
    write_tile(tmp_path / "raw/Tile1", dates=dates)
    preprocess(config_for(tmp_path, val_fraction=0))
    names = names_of(open_store(tmp_path / "processed"), "Tile1")
    bands = [f"{s.name}_{s.dates[-1]}_{band}" for s in SENSORS for band in s.band_names]
    assert list(names) == [bands[0], "viirs_DNB_max", "viirs_DNB_median", *bands[1:]]


SIX = ("Tile1", "Tile2", "Tile3", "Tile4", "Tile10", "Tile11")


def test_test_tiles_keep_their_labels_and_lie_in_test(tmp_path: Path) -> None:
    write_tiles(tmp_path / "raw", SIX, unlabelled=["Tile11"])
    result = preprocess(config_for(tmp_path, test_fraction=0.4))
    store = open_store(tmp_path / "processed")
    test = store.tile_names("test")
    assert result.splits == {"train": 2, "val": 1, "test": 3}
    assert "Tile11" in test
    assert {path.stem for path in (store.path / "Test").iterdir()} == set(test)
    for tile in test:
        assert (store.labels(tile) == 255).all() == (tile == "Tile11")
    assert store.manifest.split.test_fraction == 0.4
    assert "--test-fraction 0.4" in store.rewrite_command


def test_another_test_share_is_refused_with_the_mending_command(tmp_path: Path) -> None:
    write_tiles(tmp_path / "raw", SIX[:5])
    preprocess(config_for(tmp_path))
    with pytest.raises(
        InputDataError, match=r"test_fraction was 0\.0, is 0\.4 now.*--test-fraction 0\.4 --overwrite"
    ):
        preprocess(config_for(tmp_path, test_fraction=0.4))


def test_labels_that_changed_without_a_trace_change_the_manifest(work: Path) -> None:
    """Turned labels have the same counts; here their file keeps its size and its time of change, too."""
    before = open_store(work / "processed").manifest_hash
    path = work / "raw/Tile1/groundTruth.tif"
    status, turned = path.stat(), read_label_codes(path)[::-1]
    write_raster(path, turned)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    preprocess(config_for(work), overwrite=True)
    assert open_store(work / "processed").manifest_hash != before
